//! `hetgpu run`.

use crate::doctor::found_in_path;
use crate::line::Line;
use crate::{Outcome, Stop, assembler, libraries, refused};
use hetgpu_registry as registry;
use hetgpu_runtime::Settings;
use hetgpu_runtime::log::{self, Level};
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// As shells have it: what was named cannot be executed, or is not there.
const CANNOT_EXECUTE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// A path or a list of paths with one more in front of it.
fn with_first(first: &Path, variable: &str) -> OsString {
    let mut value = first.as_os_str().to_owned();
    if let Some(others) = std::env::var_os(variable).filter(|others| !others.is_empty()) {
        value.push(":");
        value.push(others);
    }
    value
}

/// Fails where nothing can be executed under that name, and says what the user may have meant.
fn check(program: &str) -> Result<(), Stop> {
    let stop = |status, text| Err(Stop { status, text });
    let Some(path) = found_in_path(program) else {
        let meant = if Path::new(program).is_file() { format!("; there is ./{program}") } else { String::new() };
        return stop(NOT_FOUND, format!("{program}: no such program{meant}"));
    };
    let can_be = std::fs::metadata(&path).map(|data| data.is_file() && data.permissions().mode() & 0o111 != 0);
    if can_be.unwrap_or(true) {
        return Ok(());
    }
    let remedy = match path.extension().and_then(|end| end.to_str()) {
        Some("cu") => format!(": build it first, nvcc -gencode arch=compute_75,code=compute_75 -o PROGRAM {program}"),
        Some("py") => format!(": hetgpu run python3 {program}"),
        _ => String::new(),
    };
    stop(CANNOT_EXECUTE, format!("{program} is no program that can be executed{remedy}"))
}

/// Why a program will see no device.
fn without_devices(settings: &Settings) -> String {
    match registry::descriptions(settings).is_empty() {
        true => format!("this machine has none of {}", settings.devices.join(", ")),
        false => format!("{} hides them", registry::VISIBLE),
    }
}

pub(crate) fn run(line: &Line) -> Outcome {
    let (program, arguments) = line.arguments.split_first().ok_or_else(|| refused("run which program?"))?;
    check(program)?;
    let folder = libraries::folder().map_err(refused)?;
    let (mut settings, _) = Settings::read(|name| std::env::var(name).ok());
    let mut command = Command::new(program);
    command.args(arguments);
    if let Some(names) = line.value("--device") {
        settings.devices = names.split(',').map(|name| name.trim().to_owned()).collect();
        command.env("HETGPU_DEVICE", settings.devices.join(","));
    }
    let known = registry::names();
    if let Some(unknown) = settings.devices.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(refused(format!("there is no device '{unknown}'; there are {}", known.join(", "))));
    }
    let devices = registry::seen(&settings).map_err(|repeated| refused(repeated.to_string()))?;
    if !line.has("--quiet") {
        match devices.first() {
            Some(device) => {
                let others = match devices.len() {
                    1 => String::new(),
                    count => format!(", first of {count} devices"),
                };
                log::write(
                    Level::Warn,
                    format_args!("{program} runs on {} ({}){others}", device.caps.name, device.name),
                );
            }
            None => {
                let why = without_devices(&settings);
                log::write(Level::Warn, format_args!("{program} will see no device: {why}"));
            }
        }
    }
    command.env("LD_LIBRARY_PATH", with_first(&folder, "LD_LIBRARY_PATH"));
    let audit = folder.join(libraries::AUDIT);
    if audit.exists() {
        command.env("LD_AUDIT", with_first(&audit, "LD_AUDIT"));
    } else {
        log::warn(format_args!("{} is missing: a program with a path to another library keeps it", audit.display()));
    }
    command.env(libraries::FOLDER, &folder);
    hand_over_ptx(&mut command);
    let error = command.exec();
    let status = if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_EXECUTE };
    Err(Stop { status, text: format!("{program}: {error}") })
}

/// Tells programs that ask for it by variables to hand over PTX. What the user has set stays.
fn hand_over_ptx(command: &mut Command) {
    let unset = |variable: &&str| std::env::var_os(variable).is_none();
    for (variable, value) in assembler::WANT_PTX.iter().filter(|(variable, _)| unset(variable)) {
        command.env(variable, value);
    }
    let own = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(assembler::NAME)));
    let Some(own) = own.filter(|own| own.exists()) else { return };
    for variable in assembler::NAME_ASSEMBLER.iter().filter(|variable| unset(variable)) {
        command.env(variable, &own);
    }
}
