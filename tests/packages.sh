# For scripts of bash that try what a distribution has without adding it to the system: they have `give_up`, which says why and ends.

# unpack FOLDER PACKAGE...: puts what is in packages, and in those that they need and the system has not, into FOLDER/files, made anew.
unpack() {
    local folder=$1 package
    shift
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || give_up "no apt-get and dpkg-deb here"
    rm -rf "$folder"
    mkdir -p "$folder/files" "$folder"/apt/{lists,archives}/partial
    cat >"$folder/apt/conf" <<CONF
Dir::State "$folder/apt";
Dir::State::lists "$folder/apt/lists";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$folder/apt";
Dir::Cache::archives "$folder/apt/archives";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Debug::NoLocking "true";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
CONF
    APT_CONFIG=$folder/apt/conf timeout 120 apt-get update -qq >/dev/null 2>&1 || give_up "the list of packages cannot be fetched"
    APT_CONFIG=$folder/apt/conf timeout 120 apt-get install -qq -y --download-only "$@" >/dev/null 2>&1 ||
        give_up "its packages cannot be fetched"
    for package in "$folder"/apt/archives/*.deb; do dpkg-deb -x "$package" "$folder/files"; done
    rm -rf "$folder/apt"
}
