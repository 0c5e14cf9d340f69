//! The two judges.

use std::path::Path;
use std::process::Command;

use ptx_frontend::{Options, lift_text};

/// What the front end says of an instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is lifted.
    Accepts,
    /// It is known by name, and refused.
    Unsupported,
    /// It is refused.
    Refuses {
        /// The first error.
        message: String,
        /// Where it is, from the beginning of the instruction.
        at: Option<usize>,
    },
}

/// What stands before the kernels.
fn head((version, target): (&str, &str)) -> String {
    format!(
        ".version {version}\n.target {target}\n.address_size 64\n.global .align 16 .b8 g[256];\n\
         .shared .align 16 .b8 s[256];\n.const .align 16 .b8 c[256];\n.global .texref tex;\n.global .surfref surf;\n\
         .func (.param .b32 out) f(.param .b32 in) {{ ret; }}\n"
    )
}

/// A kernel up to its first instruction: registers of every type, two variables and parameters.
fn kernel(name: &str, (version, target): (&str, &str)) -> String {
    let version: f32 = version.parse().unwrap_or_default();
    let wide = if number(target) >= 70 && version >= 8.3 { ".reg .b128 %q<4>; " } else { "" };
    let (half, halves) = if number(target) >= 53 && version >= 4.2 { ("f16", "f16x2") } else { ("b16", "b32") };
    format!(
        ".entry {name}(.param .u64 kp, .param .align 16 .b8 ka[64]) {{ .reg .pred %p<4>; .reg .b8 %c<4>; .reg .b16 %h<9>; \
         .reg .b32 %r<17>; {wide}.reg .b64 %d<9>; .reg .{half} %k<4>; .reg .{halves} %kk<4>; .reg .f32 %f<9>; \
         .reg .f64 %e<9>; .reg .u8 %uc<4>; .reg .s8 %sc<4>; .reg .u16 %uh<4>; .reg .s16 %sh<4>; .reg .u32 %ur<4>; .reg .s32 %sr<4>; .reg .u64 %ud<4>; \
         .reg .s64 %sd<4>; .reg .v2 .b32 %vr; .reg .v4 .f32 %vf; .local .align 16 .b8 l[64]; .param .align 16 .b8 lp[64];\n"
    )
}

/// The number of a target: 90 of `sm_90a`.
fn number(target: &str) -> u32 {
    target.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0)
}

/// The PTX version and target that instructions are judged for.
pub const NEWEST: (&str, &str) = ("9.0", "sm_90a");

/// The front end's verdicts.
pub fn ours(cases: &[String]) -> Vec<Verdict> {
    ours_for(NEWEST, cases)
}

/// The front end's verdicts for a version and target.
pub fn ours_for(isa: (&str, &str), cases: &[String]) -> Vec<Verdict> {
    // So few in one text that every function keeps its errors.
    cases.chunks(100).flat_map(|chunk| verdicts(isa, chunk)).collect()
}

fn verdicts(isa: (&str, &str), cases: &[String]) -> Vec<Verdict> {
    let mut text = head(isa);
    let mut starts = Vec::new();
    for (n, case) in cases.iter().enumerate() {
        text += &kernel(&format!("k{n}"), isa);
        starts.push(text.len());
        text += case;
        text += "\nL: ret; }\n";
    }
    let output = lift_text(&text, Options { lenient: true });
    let of = |n: usize| {
        let name = format!("k{n}");
        let function = output.module.functions.iter().find(|f| f.name == name);
        let Some(function) = function else {
            let first = output.diagnostics.first().map_or("", |d| &d.message);
            return Verdict::Refuses { message: format!("outside functions: {first}"), at: None };
        };
        if function.body.is_some() {
            return Verdict::Accepts;
        }
        match function.unavailable.first() {
            Some(d) if d.code == "ptx::unsupported" => Verdict::Unsupported,
            Some(d) => {
                let at = d.span().and_then(|span| (span.start as usize).checked_sub(starts[n]));
                Verdict::Refuses { message: d.message.clone(), at }
            }
            None => Verdict::Refuses { message: "it has errors".into(), at: None },
        }
    };
    (0..cases.len()).map(of).collect()
}

/// The assembler's verdicts: nothing, or why not.
pub fn theirs(ptxas: &Path, cases: &[String]) -> Result<Vec<Option<String>>, String> {
    theirs_for(ptxas, NEWEST, cases)
}

/// The assembler's verdicts for a version and target.
pub fn theirs_for(ptxas: &Path, isa: (&str, &str), cases: &[String]) -> Result<Vec<Option<String>>, String> {
    let assembler = Assembler { ptxas, head: head(isa) + &kernel("k", isa) };
    let mut verdicts = vec![None; cases.len()];
    // The syntax and types. A fatal error hides what stands behind it. A last instruction that is wrong keeps the
    // assembler from making code.
    let mut start = 0;
    let mut next_end = None;
    while start < cases.len() {
        let end = next_end.take().unwrap_or(cases.len().min(start + 1000));
        let here: Vec<usize> = (start..end).collect();
        let found = assembler.run(cases, &here, "add.u32 %r0, %d0, %r0;\n")?;
        let first = start;
        start = end;
        for error in found {
            // A fatal error without a case stands, by its line, before the first one.
            let n = error.case.unwrap_or(first);
            // An error may mislead the assembler's lexer behind it: a syntax error is believed where nothing stands
            // before it, and where it is not another instruction's.
            if error.fatal {
                let offender = offender(cases, n, end, &error.message);
                if offender > first {
                    start = n;
                    next_end = (offender > n).then_some(offender);
                    continue;
                }
                start = n + 1;
            }
            verdicts[n].get_or_insert(error.message);
        }
    }
    // What is found later than that.
    let left: Vec<usize> = (0..cases.len()).filter(|n| verdicts[*n].is_none()).collect();
    let mut open: Vec<Vec<usize>> = left.chunks(1000).map(<[usize]>::to_vec).collect();
    open.push(Vec::new());
    while let Some(mut here) = open.pop() {
        let found = assembler.run(cases, &here, "")?;
        if found.is_empty() {
            continue;
        }
        let before = here.len();
        for error in &found {
            if let Some(n) = error.case {
                verdicts[n].get_or_insert(error.message.clone());
            }
        }
        here.retain(|n| verdicts[*n].is_none());
        if here.is_empty() && before == 0 {
            return Err(format!("what stands around the cases is refused: {}", found[0].message));
        }
        if here.len() < before {
            open.push(here);
        } else if let [only] = here[..] {
            verdicts[only] = Some(found[0].message.clone());
        } else {
            let right = here.split_off(here.len() / 2);
            open.extend([here, right]);
        }
    }
    Ok(verdicts)
}

/// The case that a syntax error is about: the line is sometimes that of an instruction before it, the text that it
/// quotes is right.
fn offender(cases: &[String], at: usize, end: usize, message: &str) -> usize {
    let Some((quoted, _)) = message.strip_prefix("Parsing error near '").and_then(|rest| rest.rsplit_once("':")) else {
        return at;
    };
    (at..end).find(|n| cases[*n].contains(quoted)).unwrap_or(at)
}

/// What the assembler says of one instruction alone: among others it may get the error of another one.
pub fn theirs_alone(ptxas: &Path, isa: (&str, &str), case: &String) -> Result<Option<String>, String> {
    let assembler = Assembler { ptxas, head: head(isa) + &kernel("k", isa) };
    let found = assembler.run(std::slice::from_ref(case), &[0], "")?;
    Ok(found.into_iter().next().map(|error| error.message))
}

struct Assembler<'a> {
    ptxas: &'a Path,
    head: String,
}

struct Error {
    case: Option<usize>,
    message: String,
    fatal: bool,
}

impl Assembler<'_> {
    /// The errors of these cases in one kernel, in the order of the text.
    fn run(&self, cases: &[String], which: &[usize], last: &str) -> Result<Vec<Error>, String> {
        let mut text = self.head.clone();
        let first = text.matches('\n').count() + 1;
        for n in which {
            text += &cases[*n];
            text.push('\n');
        }
        text += last;
        text += "L: ret; }\n";
        let path = std::env::temp_dir().join(format!("hetgpu-accept-{}.ptx", std::process::id()));
        std::fs::write(&path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
        let output = Command::new(self.ptxas)
            .args(["-arch=sm_90a", "--compile-only", "-o", "/dev/null"])
            .arg(&path)
            .output()
            .map_err(|error| format!("{} does not start: {error}", self.ptxas.display()))?;
        // The file has served its purpose; that it cannot be removed changes nothing.
        let _ = std::fs::remove_file(&path);
        if output.status.success() {
            return Ok(Vec::new());
        }
        let log = String::from_utf8_lossy(&output.stderr);
        let mut errors: Vec<Error> = log.lines().filter_map(|line| read(line, first, which)).collect();
        if errors.is_empty() {
            let message = if output.status.code().is_none() { "the assembler crashes" } else { log.trim() };
            errors.push(Error { case: None, message: message.to_string(), fatal: false });
        }
        Ok(errors)
    }
}

/// `ptxas FILE, line 12; error   : message`
fn read(line: &str, first: usize, which: &[usize]) -> Option<Error> {
    let (place, rest) = line.split_once("; ")?;
    let (kind, message) = rest.split_once(':')?;
    let fatal = match kind.trim() {
        "fatal" => true,
        "error" => false,
        _ => return None,
    };
    let number: usize = place.rsplit_once("line ")?.1.parse().ok()?;
    let case = number.checked_sub(first).and_then(|n| which.get(n)).copied();
    if case.is_none() && !fatal {
        return None;
    }
    Some(Error { case, message: message.trim().to_string(), fatal })
}
