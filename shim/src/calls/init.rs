//! Start-up, entry points by name, and error texts.

use crate::abi::{Address, Call, Flavour, In, Out, Text, TextOut};
use crate::entry::{self, Entry};
use crate::result::{Code, Failure, Outcome};
use crate::{state, tables};
use std::collections::HashMap;
use std::sync::OnceLock;

pub(crate) fn init(_call: &Call, flags: u32) -> Outcome {
    if flags != 0 {
        return Err(Failure::new(Code::ERROR_INVALID_VALUE, "flags must be 0"));
    }
    state::initialise().map(drop)
}

pub(crate) fn driver_version(_call: &Call, version: Out<i32>) -> Outcome {
    version.set(state::settings().driver_version)
}

/// What a search for an entry point found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    Entry(&'static str, Address),
    /// The name exists, but only from a later version on.
    Later,
    Nothing,
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::addr_eq(self.0, other.0)
    }
}
impl Eq for Address {}

/// The newest form of `name` that is not newer than `version`; of the two flavours the wanted one, or the other where
/// there is only that.
fn resolve(name: &str, version: i32, flavour: Flavour) -> Found {
    static BY_NAME: OnceLock<HashMap<&str, Vec<&Entry>>> = OnceLock::new();
    let by_name = BY_NAME.get_or_init(|| {
        let mut by_name = HashMap::<&str, Vec<&Entry>>::new();
        for entry in entry::all().filter(|entry| entry.since > 0) {
            by_name.entry(entry.base).or_default().push(entry);
            // A suffixed name is found under itself too: CUDA 12.1's runtime asks for one.
            if entry.symbol != entry.base {
                by_name.entry(entry.symbol).or_default().push(entry);
            }
        }
        by_name
    });
    let Some(forms) = by_name.get(name) else { return Found::Nothing };
    let known = forms.iter().filter(|entry| entry.since <= version);
    let newest = |flavour| known.clone().filter(|entry| entry.flavour == flavour).max_by_key(|entry| entry.since);
    let other = match flavour {
        Flavour::Legacy => Flavour::PerThread,
        Flavour::PerThread => Flavour::Legacy,
    };
    match newest(flavour).or_else(|| newest(other)) {
        Some(entry) => Found::Entry(entry.symbol, entry.address),
        None => Found::Later,
    }
}

fn find(name: &str, version: i32, flags: u64) -> Outcome<Found> {
    const LEGACY_STREAM: u64 = 1;
    const PER_THREAD_STREAM: u64 = 2;
    let flavour = match flags {
        0 | LEGACY_STREAM => Flavour::Legacy,
        PER_THREAD_STREAM => Flavour::PerThread,
        _ => return Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("flags {flags}"))),
    };
    Ok(resolve(name, version, flavour))
}

pub(crate) fn proc_address(call: &Call, name: Text, function: Out<Address>, version: i32, flags: u64) -> Outcome {
    let status: Option<Out<u32>> = None;
    look_up(call, name, function, version, flags, status)
}

pub(crate) fn proc_address_v2(
    call: &Call,
    name: Text,
    function: Out<Address>,
    version: i32,
    flags: u64,
    status: Out<u32>,
) -> Outcome {
    look_up(call, name, function, version, flags, Some(status))
}

fn look_up(
    _call: &Call,
    name: Text,
    function: Out<Address>,
    version: i32,
    flags: u64,
    status: Option<Out<u32>>,
) -> Outcome {
    let name = name.get()?;
    let found = find(&name, version, flags)?;
    let (address, number, outcome) = match found {
        Found::Entry(_, address) => (address, 0, Ok(())),
        Found::Nothing => (Address(std::ptr::null()), 1, Err(Code::ERROR_NOT_FOUND)),
        Found::Later => (Address(std::ptr::null()), 2, Err(Code::ERROR_NOT_FOUND)),
    };
    function.set(address)?;
    if let Some(status) = status {
        status.set_if_wanted(number);
    }
    outcome.map_err(|code| Failure::new(code, format!("{name} of version {version}")))
}

pub(crate) fn export_table(_call: &Call, table: Out<Address>, id: In<[u8; 16]>) -> Outcome {
    let id = id.get()?;
    match tables::find(id) {
        Some(address) => table.set(address),
        None => {
            let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
            Err(Failure::new(Code::ERROR_NOT_FOUND, format!("no export table {hex}")))
        }
    }
}

fn text(code: u32, out: Out<TextOut>, text: Option<&'static std::ffi::CStr>) -> Outcome {
    match text {
        Some(text) => out.set(TextOut::new(text)),
        None => {
            out.set(TextOut::NULL)?;
            Err(Failure::new(Code::ERROR_INVALID_VALUE, format!("no CUresult {code}")))
        }
    }
}

pub(crate) fn error_name(_call: &Call, code: u32, out: Out<TextOut>) -> Outcome {
    text(code, out, Code(code).name())
}

pub(crate) fn error_string(_call: &Call, code: u32, out: Out<TextOut>) -> Outcome {
    text(code, out, Code(code).text())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(name: &str, version: i32, flavour: Flavour) -> &'static str {
        match resolve(name, version, flavour) {
            Found::Entry(symbol, _) => symbol,
            other => panic!("{name} {version}: {other:?}"),
        }
    }

    #[test]
    fn the_version_decides_which_form_is_meant() {
        use Flavour::{Legacy, PerThread};
        for (name, version, flavour, expected) in [
            ("cuInit", 2000, Legacy, "cuInit"),
            ("cuMemAlloc", 3020, Legacy, "cuMemAlloc_v2"),
            ("cuMemAlloc", 3010, Legacy, "cuMemAlloc"),
            ("cuMemcpy", 4000, Legacy, "cuMemcpy"),
            ("cuMemcpy", 7000, PerThread, "cuMemcpy_ptds"),
            ("cuMemcpy", 7000, Legacy, "cuMemcpy"),
            ("cuStreamGetCaptureInfo", 10010, Legacy, "cuStreamGetCaptureInfo"),
            ("cuStreamGetCaptureInfo", 11030, PerThread, "cuStreamGetCaptureInfo_v2_ptsz"),
            ("cuStreamGetCaptureInfo", 12030, Legacy, "cuStreamGetCaptureInfo_v3"),
            ("cuEventElapsedTime", 2000, Legacy, "cuEventElapsedTime"),
            ("cuEventElapsedTime", 12080, Legacy, "cuEventElapsedTime_v2"),
            ("cuCtxGetDevice", 13000, Legacy, "cuCtxGetDevice_v2"),
            ("cuCtxGetDevice", 12090, Legacy, "cuCtxGetDevice"),
            ("cuGetProcAddress", 12000, Legacy, "cuGetProcAddress_v2"),
            ("cuInit", 13000, PerThread, "cuInit"),
            ("cuGraphInstantiateWithParams_ptsz", 12000, PerThread, "cuGraphInstantiateWithParams_ptsz"),
            ("cuStreamCreate", 13000, PerThread, "cuStreamCreate"),
        ] {
            assert_eq!(symbol(name, version, flavour), expected, "{name} {version} {flavour:?}");
        }
        assert_eq!(resolve("cuLibraryLoadData", 11080, Legacy), Found::Later);
        assert_eq!(resolve("cuNothing", 13000, Legacy), Found::Nothing);
        assert_eq!(resolve("", 0, Legacy), Found::Nothing);
        assert!(find("cuInit", 13000, 4).is_err());
    }

    #[test]
    fn symbols_are_unique_and_forms_of_a_name_differ_in_version() {
        let mut symbols: Vec<_> = entry::all().map(|entry| entry.symbol).collect();
        let count = symbols.len();
        symbols.sort_unstable();
        symbols.dedup();
        assert_eq!(symbols.len(), count);
        let mut forms: Vec<_> = entry::all()
            .filter(|entry| entry.since > 0)
            .map(|entry| (entry.base, entry.since, entry.flavour == Flavour::PerThread))
            .collect();
        let count = forms.len();
        forms.sort_unstable();
        forms.dedup();
        assert_eq!(forms.len(), count);
    }
}
