//! `hetgpu-ptxas`: what stands in the place of NVIDIA's assembler for programs that call it and hand its output to the
//! driver. It copies the PTX, which our driver takes.

use std::path::Path;

/// The name under which the command is called for it.
pub(crate) const NAME: &str = "hetgpu-ptxas";

/// Variables by which programs are told to hand over PTX, besides those that name an assembler.
pub(crate) const WANT_PTX: &[(&str, &str)] = &[("CUPY_COMPILE_WITH_PTX", "1")];
/// Variables that name an assembler.
pub(crate) const NAME_ASSEMBLER: &[&str] = &["TRITON_PTXAS_PATH", "TRITON_PTXAS_BLACKWELL_PATH"];

/// Options whose value is the next word; the others have theirs behind a `=`, or none.
const WITH_VALUE: &[&str] = &["-arch", "--gpu-name", "-O", "--opt-level", "-maxrregcount", "--maxrregcount"];

pub(crate) fn assemble(words: &[String]) -> Result<(), String> {
    if words.iter().any(|word| word == "--version" || word == "-V") {
        // Callers look for the release.
        crate::say("hetgpu-ptxas: PTX as it is\nCuda compilation tools, release 13.0, V13.0.88");
        return Ok(());
    }
    let (mut input, mut output) = (None, None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-o" | "--output-file" => output = words.next(),
            option if WITH_VALUE.contains(&option) => _ = words.next(),
            option if option.starts_with('-') => {}
            _ => input = Some(word),
        }
    }
    let input = input.ok_or("no input: hetgpu-ptxas FILE.ptx -o FILE")?;
    let output = output.ok_or("no output: hetgpu-ptxas FILE.ptx -o FILE")?;
    let mut text = std::fs::read(input).map_err(|error| format!("{input}: {error}"))?;
    // Whoever takes it by its address alone finds its end by a zero byte.
    text.push(0);
    std::fs::write(Path::new(output), text).map_err(|error| format!("{output}: {error}"))
}
