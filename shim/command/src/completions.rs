//! Completions for shells, from the table of commands.

use crate::line::Line;
use crate::{Outcome, Tool, refused, say};

pub(crate) fn run(tool: &Tool, line: &Line) -> Outcome {
    let [shell] = &line.arguments[..] else { return Err(refused("completions for which shell: bash, zsh or fish?")) };
    let text = match shell.as_str() {
        "bash" => bash(tool),
        // Zsh reads bash's.
        "zsh" => format!("autoload -U +X bashcompinit && bashcompinit\n{}", bash(tool)),
        "fish" => fish(tool),
        other => return Err(refused(format!("no completions for '{other}'; there are bash, zsh and fish"))),
    };
    say(text);
    Ok(0)
}

fn bash(tool: &Tool) -> String {
    let function = tool.name.replace('-', "_");
    let names: Vec<_> = tool.commands.iter().map(|command| command.name).collect();
    let flags = tool.commands.iter().map(|command| {
        let flags: Vec<_> = command.flags.iter().map(|flag| flag.name).chain(["--help"]).collect();
        format!("    {}) words='{}' ;;\n", command.name, flags.join(" "))
    });
    format!(
        "_{function}() {{\n  local words='' word=${{COMP_WORDS[COMP_CWORD]}}\n  if [ \"$COMP_CWORD\" = 1 ]; then\n    \
         COMPREPLY=($(compgen -W '{} --help --version' -- \"$word\"))\n    return\n  fi\n  case ${{COMP_WORDS[1]}} in\n{}  esac\n  \
         case $word in\n    -*) COMPREPLY=($(compgen -W \"$words\" -- \"$word\")) ;;\n    *) COMPREPLY=($(compgen -f -- \"$word\")) ;;\n  \
         esac\n}}\ncomplete -o filenames -F _{function} {}",
        names.join(" "),
        flags.collect::<String>(),
        tool.name,
    )
}

fn fish(tool: &Tool) -> String {
    let name = tool.name;
    let mut lines = Vec::new();
    for command in tool.commands {
        let about = command.about;
        lines.push(format!("complete -c {name} -n __fish_use_subcommand -f -a {} -d '{about}'", command.name));
        for flag in command.flags {
            let value = if flag.value.is_some() { " -r" } else { "" };
            let (command, long, about) = (command.name, flag.name.trim_start_matches('-'), flag.about);
            lines.push(format!(
                "complete -c {name} -n '__fish_seen_subcommand_from {command}' -l {long}{value} -d '{about}'"
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
        for tool in [&crate::TOOL, &crate::migrate::TOOL] {
            for text in [bash(tool), fish(tool)] {
                for command in tool.commands {
                    assert!(text.contains(command.name));
                    for flag in command.flags {
                        assert!(text.contains(flag.name.trim_start_matches('-')), "{}", flag.name);
                    }
                }
                assert_eq!(text.matches('\'').count() % 2, 0, "an odd number of quotes:\n{text}");
            }
        }
    }
}
