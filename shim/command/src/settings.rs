//! `hetgpu settings`.

use crate::devices::columns;
use crate::line::Line;
use crate::{Outcome, refused, say};
use hetgpu_runtime::{SETTINGS, Settings};
use serde_json::{Value, json};

pub(crate) fn run(line: &Line) -> Outcome {
    if let Some(extra) = line.arguments.first() {
        return Err(refused(format!("settings takes no '{extra}'")));
    }
    let present = |variable: &str| std::env::var(variable).ok();
    if line.has("--json") {
        let rows = SETTINGS.iter().map(|setting| {
            let value = present(setting.variable);
            json!({ "variable": setting.variable, "value": value, "default": setting.default, "meaning": setting.doc })
        });
        say(Value::from(rows.collect::<Vec<_>>()));
        return Ok(0);
    }
    let mut rows = vec![["VARIABLE", "VALUE", "DEFAULT", "MEANING"].map(str::to_owned)];
    rows.extend(SETTINGS.iter().map(|setting| {
        let value = present(setting.variable).unwrap_or_default();
        [setting.variable, &value, setting.default, setting.doc].map(str::to_owned)
    }));
    say(columns(&rows));
    let (_, complaints) = Settings::read(|name| std::env::var(name).ok());
    complaints.iter().for_each(say);
    Ok(u8::from(!complaints.is_empty()))
}
