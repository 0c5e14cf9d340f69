//! Fatbins, ELF images and wrappers.

use std::borrow::Cow;

use hetir::diag::Diagnostic;
use ptx_frontend::container::{self, Limits};

use super::Answer;
use crate::seeds::files;

/// Small, so that a stated size that is believed shows as a fault of memory and not only as time.
const LIMITS: Limits = Limits { image: 1 << 20, module: 4 << 20, prelinked: 64 };

/// Where the input stands in the pretended memory of a host program.
const BASE: u64 = 0x10_0000;

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut out = files("ptx-frontend/tests/data", &["fatbin", "cubin", "o", "so"]);
    // A wrapper of each version in front of a fatbin.
    if let Some(fatbin) = out.iter().find(|seed| seed.starts_with(&container::FATBIN_MAGIC.to_le_bytes())).cloned() {
        for version in [1u32, 2] {
            let mut host = Vec::new();
            host.extend(container::WRAPPER_MAGIC.to_le_bytes());
            host.extend(version.to_le_bytes());
            host.extend((BASE + 48).to_le_bytes());
            host.extend((BASE + 24).to_le_bytes());
            host.extend((BASE + 48).to_le_bytes());
            host.extend(0u64.to_le_bytes());
            host.extend([0; 8]);
            host.extend(&fatbin);
            out.push(host);
        }
    }
    out
}

struct Host<'a>(&'a [u8]);

impl container::HostMemory for Host<'_> {
    fn read(&self, address: u64, len: usize) -> Result<Cow<'_, [u8]>, Diagnostic> {
        let start = address.checked_sub(BASE).and_then(|offset| usize::try_from(offset).ok());
        let bytes = start.and_then(|start| self.0.get(start..start.checked_add(len)?));
        bytes.map(Cow::Borrowed).ok_or_else(|| Diagnostic::error("fuzz::unmapped", "not mapped"))
    }
}

pub(super) fn run(bytes: &[u8]) -> Answer {
    let mut answer = Answer::NONE.with(&format!("{:?}", container::sniff(bytes)));
    let mut said = |what: &str, error: Option<Diagnostic>| {
        answer = answer.with(what).with(error.map_or("", |diagnostic| diagnostic.code));
    };
    match container::images(bytes) {
        Err(error) => said("images", Some(error)),
        Ok(images) => {
            said(&format!("{:?}", images.iter().map(|image| image.kind).collect::<Vec<_>>()), None);
            said("choice", container::choose(&images, 90).diagnostic(90));
            // Entries may share bytes: a few of them stand for all.
            images.iter().take(8).for_each(|image| said("ptx", image.ptx(LIMITS.image).err()));
        }
    }
    said("elf", container::Elf::parse(bytes).and_then(|elf| elf.functions()).err());
    said("sections", container::fatbins_in_elf(bytes).err());
    said("host", container::read_module(&Host(bytes), BASE, &LIMITS).err());
    answer
}
