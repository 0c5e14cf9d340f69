//! Completions for shells, from the table of commands.

use crate::line::Line;
use crate::{COMMANDS, Outcome, refused, say};

pub(crate) fn run(line: &Line) -> Outcome {
    let [shell] = &line.arguments[..] else { return Err(refused("completions for which shell: bash, zsh or fish?")) };
    let text = match shell.as_str() {
        "bash" => bash(),
        // Zsh reads bash's.
        "zsh" => format!("autoload -U +X bashcompinit && bashcompinit\n{}", bash()),
        "fish" => fish(),
        other => return Err(refused(format!("no completions for '{other}'; there are bash, zsh and fish"))),
    };
    say(text);
    Ok(0)
}

fn bash() -> String {
    let names: Vec<_> = COMMANDS.iter().map(|command| command.name).collect();
    let flags = COMMANDS.iter().map(|command| {
        let flags: Vec<_> = command.flags.iter().map(|flag| flag.name).chain(["--help"]).collect();
        format!("    {}) words='{}' ;;\n", command.name, flags.join(" "))
    });
    format!(
        "_hetgpu() {{\n  local words='' word=${{COMP_WORDS[COMP_CWORD]}}\n  if [ \"$COMP_CWORD\" = 1 ]; then\n    \
         COMPREPLY=($(compgen -W '{} --help --version' -- \"$word\"))\n    return\n  fi\n  case ${{COMP_WORDS[1]}} in\n{}  esac\n  \
         case $word in\n    -*) COMPREPLY=($(compgen -W \"$words\" -- \"$word\")) ;;\n    *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n  \
         esac\n}}\ncomplete -o filenames -F _hetgpu hetgpu",
        names.join(" "),
        flags.collect::<String>(),
    )
}

fn fish() -> String {
    let mut lines = Vec::new();
    for command in COMMANDS {
        let about = command.about;
        lines.push(format!("complete -c hetgpu -n __fish_use_subcommand -f -a {} -d '{about}'", command.name));
        for flag in command.flags {
            let value = if flag.value.is_some() { " -r" } else { "" };
            let (command, name, about) = (command.name, flag.name.trim_start_matches('-'), flag.about);
            lines.push(format!(
                "complete -c hetgpu -n '__fish_seen_subcommand_from {command}' -l {name}{value} -d '{about}'"
            ));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_and_flag_is_completed_and_quotes_are_whole() {
        for text in [bash(), fish()] {
            for command in COMMANDS {
                assert!(text.contains(command.name));
                for flag in command.flags {
                    assert!(text.contains(flag.name.trim_start_matches('-')), "{}", flag.name);
                }
            }
            assert_eq!(text.matches('\'').count() % 2, 0, "an odd number of quotes:\n{text}");
        }
    }
}
