//! The settings' table in README.md, between two marks.

use hetgpu_runtime::SETTINGS;

const BEGIN: &str = "<!-- settings, by cargo xtask gen -->\n";
const END: &str = "<!-- end of settings -->\n";

/// README.md with the table as it should be; without the marks the text itself, and the mark that is missing.
pub(crate) fn readme(old: &str) -> String {
    let parts = old.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = parts else { return format!("{old}\n{BEGIN}{END}") };
    let rows: String =
        SETTINGS.iter().map(|row| format!("| `{}` | `{}` | {} |\n", row.variable, row.default, row.doc)).collect();
    format!("{before}{BEGIN}| variable | default | meaning |\n|---|---|---|\n{rows}{END}{after}")
}
