//! `hetgpu`: runs programs on our libraries, shows devices and settings, finds problems, and explains device code.
#![forbid(unsafe_code)]

mod assembler;
mod checkpoint;
mod completions;
mod devices;
mod doctor;
mod explain;
mod images;
mod libraries;
mod line;
mod manual;
mod migrate;
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
#[derive(Debug)]
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

/// A name by which the program is called, and its commands: help, parser, completions and manual page come from here.
struct Tool {
    name: &'static str,
    about: &'static str,
    commands: &'static [Command],
    /// What help and the manual page end with.
    notes: &'static [&'static str],
}

const TOOL: Tool =
    Tool { name: "hetgpu", about: "Runs CUDA programs on the devices that are there.", commands: COMMANDS, notes: &[] };

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
        run: |line| completions::run(&TOOL, line),
    },
    Command {
        name: "man",
        arguments: "",
        about: "prints the manual page",
        flags: &[],
        takes_all: false,
        run: |_| {
            say(manual::page(&TOOL));
            Ok(0)
        },
    },
];

fn help(tool: &Tool) {
    say(format_args!("{} COMMAND [OPTION]...\n{}\n", tool.name, tool.about));
    let width = tool.commands.iter().map(|command| command.usage().len()).max().unwrap_or(0);
    for command in tool.commands {
        say(format_args!("  {:width$}  {}", command.usage(), command.about));
    }
    if !tool.notes.is_empty() {
        say(format_args!("\n{}", tool.notes.join("\n")));
    }
    let name = tool.name;
    say(format_args!("\n{name} COMMAND --help says more of a command, {name} --version which version this is."));
}

fn serve(tool: &Tool, words: Vec<String>) -> Outcome {
    let mut words = words.into_iter();
    let name = match words.next().as_deref() {
        None | Some("help" | "--help" | "-h") => {
            help(tool);
            return Ok(0);
        }
        Some("--version" | "-V" | "version") => {
            say(format_args!("{} {}", tool.name, env!("CARGO_PKG_VERSION")));
            return Ok(0);
        }
        Some(name) => name.to_owned(),
    };
    let known = || tool.commands.iter().map(|command| command.name).collect::<Vec<_>>().join(", ");
    let command = tool.commands.iter().find(|command| command.name == name);
    let command = command.ok_or_else(|| refused(format!("there is no command '{name}'; there are {}", known())))?;
    match Line::parse(command, words).map_err(refused)? {
        Some(line) => (command.run)(&line),
        None => {
            say(command.help(tool.name));
            Ok(0)
        }
    }
}

fn main() -> ExitCode {
    if let Some(status) = migrate::waits() {
        return status;
    }
    let mut words = std::env::args();
    let called = words.next().unwrap_or_default();
    let words: Vec<String> = words.collect();
    let called = std::path::Path::new(&called).file_name().map(|name| name.to_string_lossy().into_owned());
    let called = called.unwrap_or_default();
    let other = match called.as_str() {
        assembler::NAME => Some(assembler::assemble(&words)),
        checkpoint::NAME => Some(checkpoint::serve(&words)),
        _ => None,
    };
    match other {
        Some(Ok(())) => return ExitCode::SUCCESS,
        Some(Err(text)) => {
            eprintln!("{called}: {text}");
            return ExitCode::FAILURE;
        }
        None => {}
    }
    let tool = if called == migrate::NAME { &migrate::TOOL } else { &TOOL };
    match serve(tool, words) {
        Ok(status) => ExitCode::from(status),
        Err(Stop { status, text }) => {
            eprintln!("{}: {text}", tool.name);
            ExitCode::from(status)
        }
    }
}
