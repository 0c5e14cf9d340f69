//! A manual page, from the table of commands.

use crate::Tool;

pub(crate) fn page(tool: &Tool) -> String {
    let mut text = format!(
        ".TH {} 1 \"\" \"hetGPU {}\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n.B {}\nCOMMAND [OPTION]...\n.SH COMMANDS\n",
        tool.name.to_uppercase(),
        env!("CARGO_PKG_VERSION"),
        tool.name,
        plain(tool.about),
        tool.name,
    );
    for command in tool.commands {
        text += &format!(".TP\n.B {}\n{}\n", plain(&command.usage()), plain(command.about));
        for flag in command.flags {
            text += &format!(".RS\n.TP\n.B {}\n{}\n.RE\n", plain(&flag.usage()), plain(flag.about));
        }
    }
    if !tool.notes.is_empty() {
        text += &format!(".SH NOTES\n{}\n", plain(&tool.notes.join("\n")));
    }
    text.trim_end().to_owned()
}

/// What would be a request or another sign to the formatter is none.
fn plain(text: &str) -> String {
    let line = |line: &str| {
        let escaped = line.replace('\\', "\\e").replace('-', "\\-");
        if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_every_command_and_no_stray_requests() {
        for tool in [&crate::TOOL, &crate::migrate::TOOL] {
            let page = page(tool);
            for command in tool.commands {
                assert!(page.contains(&format!("\n.B {}", plain(command.name))), "{}", command.name);
            }
        }
        assert_eq!(plain(".x -y\n'z"), "\\&.x \\-y\n\\&'z");
    }
}
