//! `hetgpu`: runs programs on our libraries, shows devices and settings, finds problems, and explains device code.
#![forbid(unsafe_code)]

mod assembler;
mod completions;
mod devices;
mod doctor;
mod explain;
mod images;
mod libraries;
mod line;
mod run;
mod settings;

use line::{Command, Flag, Line};
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

/// Prints a line; nobody need be there to read it, as where `head` has had enough.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Why a command ends early, and with which exit status.
struct Stop {
    status: u8,
    text: String,
}

/// The command line is wrong, or what it names is.
fn refused(text: impl Into<String>) -> Stop {
    Stop { status: 2, text: text.into() }
}

type Outcome = Result<u8, Stop>;

const JSON: Flag = Flag { name: "--json", value: None, about: "as JSON" };

/// Every command: help, parser and completions come from here.
const COMMANDS: &[Command] = &[
    Command {
        name: "run",
        arguments: "[--] PROGRAM [ARGUMENT]...",
        about: "runs a program on the libraries of hetGPU, whichever it would find by itself",
        flags: &[
            Flag { name: "--device", value: Some("NAMES"), about: "devices by name, as HETGPU_DEVICE has them" },
            Flag { name: "--quiet", value: None, about: "do not say which device it is" },
        ],
        takes_all: true,
        run: run::run,
    },
    Command {
        name: "devices",
        arguments: "",
        about: "lists the devices that programs see, in the order in which they number them",
        flags: &[JSON],
        takes_all: false,
        run: devices::run,
    },
    Command {
        name: "doctor",
        arguments: "[PROGRAM]",
        about: "looks for what keeps programs, or this one, from running well; exit status 1 if something does",
        flags: &[],
        takes_all: false,
        run: doctor::run,
    },
    Command {
        name: "explain",
        arguments: "FILE",
        about: "lists the device code of a program, a fatbin or PTX: images, kernels, and what is refused and why",
        flags: &[JSON],
        takes_all: false,
        run: explain::run,
    },
    Command {
        name: "settings",
        arguments: "",
        about: "lists the settings, their present values and what they mean",
        flags: &[JSON],
        takes_all: false,
        run: settings::run,
    },
    Command {
        name: "completions",
        arguments: "bash|zsh|fish",
        about: "prints completions for a shell",
        flags: &[],
        takes_all: false,
        run: completions::run,
    },
];

fn help() {
    say("hetgpu COMMAND [OPTION]...\nRuns CUDA programs on the devices that are there.\n");
    let width = COMMANDS.iter().map(|command| command.usage().len()).max().unwrap_or(0);
    for command in COMMANDS {
        say(format_args!("  {:width$}  {}", command.usage(), command.about));
    }
    say("\nhetgpu COMMAND --help says more of a command, hetgpu --version which version this is.");
}

fn serve(words: Vec<String>) -> Outcome {
    let mut words = words.into_iter();
    let name = match words.next().as_deref() {
        None | Some("help" | "--help" | "-h") => {
            help();
            return Ok(0);
        }
        Some("--version" | "-V" | "version") => {
            say(format_args!("hetgpu {}", env!("CARGO_PKG_VERSION")));
            return Ok(0);
        }
        Some(name) => name.to_owned(),
    };
    let known = || COMMANDS.iter().map(|command| command.name).collect::<Vec<_>>().join(", ");
    let command = COMMANDS.iter().find(|command| command.name == name);
    let command = command.ok_or_else(|| refused(format!("there is no command '{name}'; there are {}", known())))?;
    match Line::parse(command, words).map_err(refused)? {
        Some(line) => (command.run)(&line),
        None => {
            say(command.help());
            Ok(0)
        }
    }
}

fn main() -> ExitCode {
    let mut words = std::env::args();
    let called = words.next().unwrap_or_default();
    let words: Vec<String> = words.collect();
    if std::path::Path::new(&called).file_name().is_some_and(|name| name == assembler::NAME) {
        return match assembler::assemble(&words) {
            Ok(()) => ExitCode::SUCCESS,
            Err(text) => {
                eprintln!("{}: {text}", assembler::NAME);
                ExitCode::FAILURE
            }
        };
    }
    match serve(words) {
        Ok(status) => ExitCode::from(status),
        Err(Stop { status, text }) => {
            eprintln!("hetgpu: {text}");
            ExitCode::from(status)
        }
    }
}
