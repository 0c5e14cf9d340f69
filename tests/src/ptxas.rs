//! NVIDIA's assembler as the judge of what is legal PTX. It needs no GPU.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use crate::header::Ptxas;

/// Assembles a file and compares the verdict with the expected one; `Err` says what is wrong.
pub fn judge(ptxas: &Path, file: &Path, expected: &Ptxas) -> Result<(), String> {
    let mut arch = OsString::from("-arch=");
    arch.push(&expected.arch);
    let output = Command::new(ptxas)
        .arg(arch)
        .args(["--compile-only", "-o", "/dev/null"])
        .arg(file)
        .output()
        .map_err(|error| format!("{} does not start: {error}", ptxas.display()))?;
    let log = String::from_utf8_lossy(&output.stderr);
    match (expected.accepts, output.status.success()) {
        (true, true) | (false, false) => Ok(()),
        (true, false) => Err(format!("ptxas refuses it for {}:\n{}", expected.arch, log.trim_end())),
        (false, true) => Err(format!("ptxas accepts it for {}, the header expects a refusal", expected.arch)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_compared() {
        let (accepting, refusing) = (Path::new("/bin/true"), Path::new("/bin/false"));
        let file = Path::new("any.ptx");
        let expected = |accepts| Ptxas { arch: "sm_90a".into(), accepts };
        assert_eq!(judge(accepting, file, &expected(true)), Ok(()));
        assert_eq!(judge(refusing, file, &expected(false)), Ok(()));
        assert!(judge(refusing, file, &expected(true)).unwrap_err().contains("refuses it for sm_90a"));
        assert!(judge(accepting, file, &expected(false)).unwrap_err().contains("accepts it for sm_90a"));
        assert!(judge(Path::new("/nowhere"), file, &expected(true)).unwrap_err().contains("does not start"));
    }
}
