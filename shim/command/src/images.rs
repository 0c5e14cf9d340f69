//! The images in a file: what PTX and machine code a program, a fatbin or a text brings.

use ptx_frontend::container::{self, Elf, Encoding, Image, ImageKind, Kind};

/// An image as people are told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Listed {
    pub(crate) what: &'static str,
    pub(crate) target: String,
    pub(crate) bytes: u64,
    pub(crate) packed: &'static str,
    /// The source file, where the image says.
    pub(crate) source: String,
}

/// What a file is, and its images.
pub(crate) struct Contents {
    pub(crate) kind: &'static str,
    pub(crate) images: Vec<Listed>,
}

impl Contents {
    pub(crate) fn has_ptx(&self) -> bool {
        self.images.iter().any(|image| image.what == "PTX")
    }

    pub(crate) fn targets(&self) -> String {
        let mut targets: Vec<_> = self.images.iter().map(|image| image.target.as_str()).collect();
        targets.dedup();
        targets.join(", ")
    }
}

pub(crate) fn read(bytes: &[u8]) -> Result<Contents, String> {
    let said = |diagnostic: hetir::diag::Diagnostic| diagnostic.message;
    match container::sniff(bytes) {
        Kind::Ptx => {
            let text = String::from_utf8_lossy(bytes);
            let target = text.lines().find_map(|line| line.trim().strip_prefix(".target")).unwrap_or("").trim();
            let target = target.split([',', ' ', '/']).next().unwrap_or("").to_owned();
            let image = Listed { what: "PTX", target, bytes: bytes.len() as u64, packed: "", source: String::new() };
            Ok(Contents { kind: "PTX text", images: vec![image] })
        }
        Kind::Fatbin => Ok(Contents { kind: "a fatbin", images: listed(&container::images(bytes).map_err(said)?) }),
        Kind::Elf => {
            let elf = Elf::parse(bytes).map_err(said)?;
            if elf.is_cubin() {
                let target = elf.sm().map_or_else(String::new, |sm| format!("sm_{sm}"));
                let bytes = bytes.len() as u64;
                let image = Listed { what: "machine code", target, bytes, packed: "", source: String::new() };
                return Ok(Contents { kind: "a cubin", images: vec![image] });
            }
            let mut images = Vec::new();
            for section in container::fatbins_in_elf(bytes).map_err(said)? {
                images.extend(listed(&container::images(section.bytes).map_err(said)?));
            }
            Ok(Contents { kind: "an ELF file", images })
        }
        Kind::Wrapper | Kind::Unknown => Err("neither PTX text, nor a fatbin, nor an ELF file".to_owned()),
    }
}

fn listed(images: &[Image<'_>]) -> Vec<Listed> {
    let of = |image: &Image<'_>| Listed {
        what: match image.kind {
            ImageKind::Ptx => "PTX",
            ImageKind::Elf => "machine code",
            ImageKind::Other(_) => "something else",
        },
        target: image.target(),
        bytes: match image.payload.encoding {
            Encoding::Raw => image.payload.stored.len() as u64,
            Encoding::Lz4 | Encoding::Zstd | Encoding::Unknown => image.payload.stated_size,
        },
        packed: match image.payload.encoding {
            Encoding::Raw => "",
            Encoding::Lz4 => "LZ4",
            Encoding::Zstd => "zstd",
            Encoding::Unknown => "packed in an unknown way",
        },
        source: image.ident.clone().unwrap_or_default(),
    };
    images.iter().map(of).collect()
}
