//! Fatbins, ELF files and wrappers: real ones from `nvcc`, ones made here, and damaged ones.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hetir::diag::Diagnostic;
use ptx_frontend::container::{
    Choice, Cubin, CubinKernel, Elf, Encoding, HostMemory, HostModule, Image, ImageKind, Kind, Limits, Variant,
    Wrapper, choose, fatbins_in_elf, images, machine_code, read_fatbin, read_module, read_wrapper, sniff,
};

const LIMIT: u64 = 1 << 30;

macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!("data/container/", $name)).as_slice()
    };
}

const RAW: &[u8] = data!("ptx75.none.fatbin");
const LZ4: &[u8] = data!("ptx75.speed.fatbin");
const ZSTD: &[u8] = data!("ptx75.balance.fatbin");
const ZSTD_SMALL: &[u8] = data!("ptx75.size.fatbin");
const BOTH: &[u8] = data!("both.size.fatbin");
const BOTH_LZ4: &[u8] = data!("both.speed.fatbin");
const SM90: &[u8] = data!("sm90.none.fatbin");
const SM90_ZSTD: &[u8] = data!("sm90.size.fatbin");
const PTX90A: &[u8] = data!("ptx90a.fatbin");
const PTX100F: &[u8] = data!("ptx100f.fatbin");
const IDENT: &[u8] = data!("ident.fatbin");
const CUBIN90: &[u8] = data!("scale.sm_90.cubin");
const CUBIN75_OLD: &[u8] = data!("scale.sm_75.abi7.cubin");
const CUBIN75_RELOCATABLE: &[u8] = data!("relocatable.sm_75.cubin");
const SHARED_OBJECT: &[u8] = data!("device.so");
const OBJECT: &[u8] = data!("device.relocatable.o");

const FATBINS: [&[u8]; 11] = [RAW, LZ4, ZSTD, ZSTD_SMALL, BOTH, BOTH_LZ4, SM90, SM90_ZSTD, PTX90A, PTX100F, IDENT];
const ELVES: [&[u8]; 5] = [CUBIN90, CUBIN75_OLD, CUBIN75_RELOCATABLE, SHARED_OBJECT, OBJECT];

fn code<T>(result: Result<T, Diagnostic>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(diagnostic) => diagnostic.code,
    }
}

/// An entry of a fatbin, each field as it will be written.
#[derive(Clone)]
struct Entry {
    kind: u16,
    header: u32,
    padded: u64,
    compressed: u32,
    sm: u32,
    flags: u64,
    uncompressed: u64,
    payload: Vec<u8>,
}

impl Entry {
    fn raw(payload: &[u8]) -> Self {
        let payload = payload.to_vec();
        let padded = payload.len() as u64;
        Self { kind: 1, header: 64, padded, compressed: 0, sm: 75, flags: 0x11, uncompressed: 0, payload }
    }

    fn packed(flag: u64, payload: &[u8], uncompressed: u64) -> Self {
        let compressed = payload.len() as u32;
        Self { compressed, flags: 0x11 | flag, uncompressed, ..Self::raw(payload) }
    }

    fn lz4(payload: &[u8], uncompressed: u64) -> Self {
        Self::packed(0x2000, payload, uncompressed)
    }

    fn zstd(payload: &[u8], uncompressed: u64) -> Self {
        Self::packed(0x8000, payload, uncompressed)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(self.kind.to_le_bytes());
        out.extend(0x101_u16.to_le_bytes());
        out.extend(self.header.to_le_bytes());
        out.extend(self.padded.to_le_bytes());
        out.extend(self.compressed.to_le_bytes());
        out.extend(0_u32.to_le_bytes());
        out.extend(5_u16.to_le_bytes());
        out.extend(7_u16.to_le_bytes());
        out.extend(self.sm.to_le_bytes());
        out.extend(0_u64.to_le_bytes());
        out.extend(self.flags.to_le_bytes());
        out.extend(0_u64.to_le_bytes());
        out.extend(self.uncompressed.to_le_bytes());
        assert_eq!(out.len(), 64);
        out.extend(&self.payload);
        out
    }
}

fn fatbin(entries: &[Entry]) -> Vec<u8> {
    let body: Vec<u8> = entries.iter().flat_map(Entry::bytes).collect();
    [fatbin_header(1, 16, body.len() as u64).as_slice(), &body].concat()
}

fn fatbin_header(version: u16, header: u16, size: u64) -> [u8; 16] {
    let mut out = [0; 16];
    out[..4].copy_from_slice(&0xBA55_ED50_u32.to_le_bytes());
    out[4..6].copy_from_slice(&version.to_le_bytes());
    out[6..8].copy_from_slice(&header.to_le_bytes());
    out[8..].copy_from_slice(&size.to_le_bytes());
    out
}

/// An LZ4 block of literals only.
fn lz4_literals(data: &[u8]) -> Vec<u8> {
    let mut out = vec![(data.len().min(15) as u8) << 4];
    if let Some(mut more) = data.len().checked_sub(15) {
        while more >= 255 {
            out.push(255);
            more -= 255;
        }
        out.push(more as u8);
    }
    out.extend(data);
    out
}

/// An LZ4 block that says `first`, then repeats it so that `more` bytes are added, then says `last`.
fn lz4_repeat(first: &[u8], more: usize, last: u8) -> Vec<u8> {
    assert!(first.len() < 15 && more >= 19);
    let mut out = vec![(first.len() as u8) << 4 | 15];
    out.extend(first);
    out.extend((first.len() as u16).to_le_bytes());
    out.extend(vec![255; (more - 19) / 255]);
    out.push(((more - 19) % 255) as u8);
    out.extend([0x10, last]);
    out
}

/// The header of a Zstandard frame in one segment of `size` bytes.
fn zstd_header(size: u64) -> Vec<u8> {
    let mut out = vec![0x28, 0xB5, 0x2F, 0xFD, 0xE0];
    out.extend(size.to_le_bytes());
    out
}

fn zstd_block(last: bool, kind: u32, size: usize) -> [u8; 3] {
    let [a, b, c, _] = (u32::from(last) | kind << 1 | (size as u32) << 3).to_le_bytes();
    [a, b, c]
}

/// A Zstandard frame of raw blocks.
fn zstd_raw(data: &[u8]) -> Vec<u8> {
    let mut out = zstd_header(data.len() as u64);
    let count = data.chunks(1000).len();
    for (index, block) in data.chunks(1000).enumerate() {
        out.extend(zstd_block(index + 1 == count, 0, block.len()));
        out.extend(block);
    }
    out
}

/// A Zstandard frame of `count` blocks, each one byte repeated 128 Ki times, in 4 bytes each.
fn zstd_bomb(claim: u64, count: usize) -> Vec<u8> {
    let mut out = zstd_header(claim);
    for index in 0..count {
        out.extend(zstd_block(index + 1 == count, 1, 128 << 10));
        out.push(b' ');
    }
    out
}

/// A sequence of numbers that look random.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Everything that can be asked of some bytes; counts the images whose contents could be read.
fn exercise(bytes: &[u8]) -> usize {
    sniff(bytes);
    let mut good = 0;
    if let Ok(images) = images(bytes) {
        for image in &images {
            good += usize::from(image.payload.decode(1 << 20).is_ok());
            let _ = image.ptx(1 << 20);
        }
        let _ = choose(&images, 80).diagnostic(80);
    }
    if let Ok(elf) = Elf::parse(bytes) {
        let _ = elf.functions();
        let _ = elf.sm();
    }
    for section in fatbins_in_elf(bytes).unwrap_or_default() {
        good += images(section.bytes).map_or(0, |images| images.len());
    }
    let memory = Memory::from([(0x10000, bytes.to_vec())]);
    let _ = read_module(&memory, 0x10000, &Limits::default());
    let _ = Wrapper::parse(bytes);
    good
}

#[test]
fn kinds_are_told_by_the_first_bytes() {
    for bytes in FATBINS {
        assert_eq!(sniff(bytes), Kind::Fatbin);
    }
    for bytes in ELVES {
        assert_eq!(sniff(bytes), Kind::Elf);
    }
    assert_eq!(sniff(&wrapper(1, 0x1000, 0)), Kind::Wrapper);
    assert_eq!(sniff(b".version 7.0\n"), Kind::Ptx);
    assert_eq!(sniff(b"\n\t // a\n//\n/* .x */ /**/.version 7.0"), Kind::Ptx);
    for other in ["", "/*/ .version", "// .version", "/* .version", ".target sm_75", "/", "\x7fEL"] {
        assert_eq!(sniff(other.as_bytes()), Kind::Unknown, "{other:?}");
    }
}

#[test]
fn nvcc_says_the_same_in_every_compression() {
    let modes = [(RAW, Encoding::Raw), (LZ4, Encoding::Lz4), (ZSTD, Encoding::Zstd), (ZSTD_SMALL, Encoding::Zstd)];
    let mut texts = Vec::new();
    for (bytes, encoding) in modes {
        let images = images(bytes).unwrap();
        let [image] = images.as_slice() else { panic!("{} images", images.len()) };
        assert_eq!(image.kind, ImageKind::Ptx);
        assert_eq!((image.sm, image.ptx_version), (75, (9, 0)));
        assert_eq!((image.variant(), image.target()), (Variant::Portable, "sm_75".to_owned()));
        assert_eq!(image.payload.encoding, encoding);
        assert_eq!(image.ident, None);
        texts.push(image.ptx(LIMIT).unwrap().into_owned());
    }
    assert!(texts.iter().all(|text| *text == texts[0]));
    assert!(!texts[0].contains('\0') && texts[0].trim_start().starts_with(".version 9.0\n.target sm_75\n"));
    assert!(texts[0].contains(".visible .entry scale(") && texts[0].contains(".visible .entry fill("));
    assert_eq!(sniff(texts[0].as_bytes()), Kind::Ptx);
}

#[test]
fn ptx_and_cubins_stand_side_by_side() {
    for bytes in [BOTH, BOTH_LZ4] {
        let images = images(bytes).unwrap();
        let found: Vec<_> = images.iter().map(|i| (i.kind, i.sm)).collect();
        assert_eq!(found, [(ImageKind::Ptx, 75), (ImageKind::Ptx, 90), (ImageKind::Elf, 90)]);
        assert!(images[0].ptx(LIMIT).unwrap().contains(".target sm_75"));
        assert!(images[1].ptx(LIMIT).unwrap().contains(".target sm_90"));
        assert_eq!(images[2].payload.decode(LIMIT).unwrap(), CUBIN90);
        assert_eq!(code(images[2].ptx(LIMIT)), "container::not-ptx");
    }
    let (raw, packed) = (images(SM90).unwrap(), images(SM90_ZSTD).unwrap());
    assert_eq!(raw[0].payload.decode(LIMIT).unwrap(), packed[0].payload.decode(LIMIT).unwrap());
    assert_eq!((raw[0].payload.encoding, packed[0].payload.encoding), (Encoding::Raw, Encoding::Zstd));
}

#[test]
fn variants_and_names_are_read() {
    let one = |bytes| images(bytes).unwrap().remove(0);
    assert_eq!((one(PTX90A).variant(), one(PTX90A).target()), (Variant::Architecture, "sm_90a".to_owned()));
    assert_eq!((one(PTX100F).variant(), one(PTX100F).target()), (Variant::Family, "sm_100f".to_owned()));
    assert!(one(PTX100F).ptx(LIMIT).unwrap().contains(".target sm_100f"));
    assert_eq!(one(IDENT).ident.as_deref(), Some("scale.cu"));
}

#[test]
fn fatbins_may_follow_one_another() {
    let joined = [ZSTD, &[0; 24], BOTH, PTX90A, &[0; 8]].concat();
    let images = images(&joined).unwrap();
    assert_eq!(images.iter().map(|i| i.sm).collect::<Vec<_>>(), [75, 75, 90, 90, 90]);
    assert!(images.iter().all(|i| i.payload.decode(LIMIT).is_ok()));
    let offset = images[4].payload.offset;
    assert_eq!(&joined[offset..offset + images[4].payload.stored.len()], images[4].payload.stored);

    assert_eq!(self::images(&fatbin(&[])), Ok(vec![]), "what the device linker leaves where there is only PTX");
    let garbage = [ZSTD, b"garbage that is long enough"].concat();
    let error = self::images(&garbage).unwrap_err();
    assert_eq!((error.code, error.span().unwrap().start), ("container::fatbin-magic", ZSTD.len() as u32));
    assert_eq!(code(self::images(&[ZSTD, b"short"].concat())), "container::truncated");
    assert_eq!(code(self::images(&[])), "container::truncated");
    assert_eq!(code(self::images(&[0; 64])), "container::fatbin-magic");
}

#[test]
fn made_here_in_each_encoding() {
    let text = format!(".version 7.5\n.target sm_75\n{}", "// long\n".repeat(700));
    let len = text.len() as u64;
    let padded = [text.as_bytes(), &[0; 7]].concat();
    let entries = [
        Entry::raw(&padded),
        Entry::lz4(&lz4_literals(&padded), len + 7),
        Entry::zstd(&zstd_raw(&padded), len + 7),
        Entry { kind: 8, ..Entry::raw(b"intermediate") },
    ];
    let bytes = fatbin(&entries);
    let images = images(&bytes).unwrap();
    for image in &images[..3] {
        assert_eq!(image.ptx(LIMIT).unwrap(), text);
        assert_eq!(image.payload.decode(LIMIT).unwrap(), padded.as_slice());
        assert_eq!((image.ptx_version, image.sm), ((7, 5), 75));
        assert_eq!(code(image.ptx(len)), "container::too-large");
    }
    assert_eq!(images[3].kind, ImageKind::Other(8));
    assert_eq!(images[3].payload.decode(LIMIT).unwrap(), b"intermediate".as_slice());

    // Around the lengths at which LZ4 needs another byte to say them.
    for len in [0, 1, 14, 15, 16, 268, 269, 270, 523, 524, 525] {
        let text = "x".repeat(len);
        let bytes = fatbin(&[Entry::lz4(&lz4_literals(text.as_bytes()), len as u64)]);
        assert_eq!(self::images(&bytes).unwrap()[0].ptx(LIMIT).unwrap(), text);
    }

    let repeated = Entry::lz4(&lz4_repeat(b"ab", 5000, b'!'), 5003);
    let bytes = fatbin(&[repeated]);
    assert_eq!(self::images(&bytes).unwrap()[0].ptx(LIMIT).unwrap(), "ab".repeat(2501) + "!");
}

#[test]
fn ptx_must_be_text() {
    let ptx = |payload: &[u8]| images(&fatbin(&[Entry::raw(payload)])).unwrap()[0].ptx(LIMIT).map(Cow::into_owned);
    assert_eq!(ptx("// \u{e9}\0\0\0".as_bytes()), Ok("// \u{e9}".to_owned()));
    assert_eq!(ptx(b"\0\0\0"), Ok(String::new()));
    assert_eq!(ptx(b"a\0b\0"), Ok("a\0b".to_owned()));
    let error = ptx(b"// \xff\0").unwrap_err();
    assert_eq!((error.code, error.labels[0].text.as_str()), ("container::not-utf8", "byte 3 of its text"));
    let packed = fatbin(&[Entry::lz4(&lz4_literals(b"ab\xc3"), 3)]);
    assert_eq!(code(images(&packed).unwrap()[0].ptx(LIMIT)), "container::not-utf8");
}

#[test]
fn claims_are_refused_before_anything_is_allocated() {
    let decode = |entry: Entry, limit| {
        let bytes = fatbin(&[entry]);
        code(images(&bytes).unwrap()[0].payload.decode(limit))
    };
    let text = b"some text".as_slice();
    for claim in [4 << 30, u64::MAX] {
        assert_eq!(decode(Entry::lz4(&lz4_literals(text), claim), LIMIT), "container::too-large");
        assert_eq!(decode(Entry::zstd(&zstd_raw(text), claim), LIMIT), "container::too-large");
    }
    // Where the limit lets it through, decoding goes as far as there is data. An allocation of this size would fail.
    let decode = |entry: Entry| {
        let bytes = fatbin(&[entry]);
        images(&bytes).unwrap()[0].payload.decode(u64::MAX).unwrap_err().message
    };
    for claim in [1 << 50, u64::MAX] {
        let ended = |len: usize| format!("it holds {len} bytes where {claim} are stated");
        assert!(decode(Entry::lz4(&lz4_literals(text), claim)).ends_with(&ended(text.len())));
        assert!(decode(Entry::zstd(&zstd_raw(text), claim)).ends_with(&ended(text.len())));
        assert!(decode(Entry::zstd(&zstd_bomb(1 << 39, 3), claim)).ends_with(&ended(3 << 17)));
    }
}

#[test]
fn output_is_exactly_as_long_as_stated() {
    let decode = |entry: Entry| {
        let bytes = fatbin(&[entry]);
        images(&bytes).unwrap()[0].payload.decode(LIMIT).map(|out| out.len())
    };
    let text = b"some text of no importance".as_slice();
    let len = text.len() as u64;
    assert_eq!(decode(Entry::lz4(&lz4_literals(text), len)), Ok(text.len()));
    assert_eq!(decode(Entry::zstd(&zstd_raw(text), len)), Ok(text.len()));
    assert_eq!(decode(Entry::zstd(&zstd_bomb(100 << 17, 100), 100 << 17)), Ok(100 << 17));
    for wrong in [0, 1, len - 1, len + 1, 1000, 1 << 29] {
        assert_eq!(code(decode(Entry::lz4(&lz4_literals(text), wrong))), "container::compression", "{wrong}");
        assert_eq!(code(decode(Entry::zstd(&zstd_raw(text), wrong))), "container::compression", "{wrong}");
    }
    // More than a GiB from few bytes, where little or half of that is stated: in the entry, or in the frame too.
    for stated in [1000, 1 << 29] {
        assert_eq!(code(decode(Entry::lz4(&lz4_repeat(b"a", 5 << 28, b'b'), stated))), "container::compression");
    }
    for frame in [1000, 20 << 20, 1 << 40] {
        assert_eq!(code(decode(Entry::zstd(&zstd_bomb(frame, 10_000), 1000))), "container::compression");
    }
}

#[test]
fn damaged_compression_is_refused() {
    let decode = |entry: Entry| {
        let bytes = fatbin(&[entry]);
        code(images(&bytes).unwrap()[0].payload.decode(LIMIT))
    };
    let bad = "container::compression";
    assert_eq!(decode(Entry::lz4(&[0x10, b'a', 0, 0, 0x10, b'b'], 6)), bad, "offset 0");
    assert_eq!(decode(Entry::lz4(&[0x10, b'a', 2, 0, 0x10, b'b'], 6)), bad, "offset before the start");
    assert_eq!(decode(Entry::lz4(&[0x10, b'a', 1, 0, 0x10, b'b'], 6)), "ok");
    assert_eq!(decode(Entry::lz4(&[0xF0, 255, 255, 255], 6)), bad, "endless length");
    assert_eq!(decode(Entry::zstd(&[0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0], 6)), bad, "skippable frame");
    assert_eq!(decode(Entry { flags: 0xA011, ..Entry::lz4(&lz4_literals(b"a"), 1) }), bad, "both kinds");
    assert_eq!(decode(Entry { flags: 0x11, ..Entry::lz4(&lz4_literals(b"a"), 1) }), bad, "neither kind");

    for whole in [LZ4, ZSTD, ZSTD_SMALL] {
        let images = images(whole).unwrap();
        let payload = images[0].payload;
        for len in 1..payload.stored.len() {
            let flag = if payload.encoding == Encoding::Lz4 { 0x2000 } else { 0x8000 };
            assert_eq!(decode(Entry::packed(flag, &payload.stored[..len], payload.stated_size)), bad, "{len} bytes");
        }
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let of = |entry: Entry| {
        let bytes = fatbin(&[entry, Entry::raw(b"the next")]);
        code(images(&bytes))
    };
    let good = Entry::raw(&[b' '; 100]);
    assert_eq!(of(good.clone()), "ok");
    for header in [0, 1, 16, 63] {
        assert_eq!(of(Entry { header, ..good.clone() }), "container::fatbin-entry", "{header}");
    }
    for header in [1 << 20, u32::MAX] {
        assert_eq!(of(Entry { header, ..good.clone() }), "container::truncated", "{header}");
    }
    for padded in [1 << 20, 4 << 30, u64::MAX - 63, u64::MAX] {
        assert_eq!(of(Entry { padded, ..good.clone() }), "container::truncated", "{padded}");
    }
    // Into the next entry, whose rest is then no entry.
    assert_eq!(of(Entry { padded: 120, ..good.clone() }), "container::truncated");
    for compressed in [101, u32::MAX] {
        assert_eq!(of(Entry { compressed, flags: 0x8011, ..good.clone() }), "container::fatbin-entry");
    }

    let body = good.bytes();
    let with = |header: [u8; 16]| code(images(&[header.as_slice(), &body].concat()));
    let size = body.len() as u64;
    assert_eq!(with(fatbin_header(1, 16, size)), "ok");
    assert_eq!(with(fatbin_header(2, 16, size)), "container::fatbin-version");
    for header in [0, 8, 15] {
        assert_eq!(with(fatbin_header(1, header, size)), "container::fatbin-header");
    }
    assert_eq!(with(fatbin_header(1, u16::MAX, size)), "container::truncated");
    for size in [size + 1, 4 << 30, u64::MAX - 15, u64::MAX] {
        assert_eq!(with(fatbin_header(1, 16, size)), "container::truncated");
    }
    for size in [1, 63, size - 1] {
        assert_eq!(with(fatbin_header(1, 16, size)), "container::truncated");
    }
}

#[test]
fn every_truncation_is_an_error() {
    for whole in FATBINS {
        for len in 0..whole.len() {
            assert_eq!(code(images(&whole[..len])), "container::truncated", "{len} of {} bytes", whole.len());
        }
    }
    for whole in ELVES {
        for len in 0..whole.len() {
            exercise(&whole[..len]);
            assert!(len >= 64 || Elf::parse(&whole[..len]).is_err());
        }
    }
}

#[test]
fn flipped_bits_do_no_harm() {
    let mut random = Random(0x4845_5447_5055);
    let (mut tried, mut good) = (0, 0);
    for whole in FATBINS.into_iter().chain(ELVES) {
        assert!(exercise(whole) > 0 || whole[18] == 190, "each can be read as it is");
        let mut tries = Vec::new();
        // Each bit of the headers, then some bits anywhere.
        tries.extend((0..whole.len().min(96) * 8).map(|bit| vec![bit]));
        tries.extend((0..700).map(|n| (0..=n % 8).map(|_| random.below(whole.len() * 8)).collect()));
        for bits in tries {
            let mut bytes = whole.to_vec();
            for bit in bits {
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            tried += 1;
            good += exercise(&bytes).min(1);
        }
    }
    assert!(tried > 20_000 && good > 1000, "{good} of {tried} could be read");
}

fn chosen<'a>(images: &[Image<'a>], device_sm: u32) -> Option<Image<'a>> {
    match choose(images, device_sm) {
        Choice::Ptx(image) => Some(image.clone()),
        Choice::TooNew(_) | Choice::ElfOnly(_) | Choice::Nothing => None,
    }
}

#[test]
fn the_best_ptx_is_chosen() {
    let both = images(BOTH).unwrap();
    for (device, expected) in [(75, 75), (80, 75), (89, 75), (90, 90), (120, 90)] {
        assert_eq!(chosen(&both, device).map(|i| (i.kind, i.sm)), Some((ImageKind::Ptx, expected)), "sm_{device}");
    }
    assert_eq!(choose(&both, 70), Choice::TooNew(vec!["sm_75".to_owned(), "sm_90".to_owned()]));
    let error = choose(&both, 70).diagnostic(70).unwrap();
    assert_eq!(error.code, "container::no-ptx");
    assert_eq!(choose(&both, 75).diagnostic(75), None);

    let sass = [images(SM90_ZSTD).unwrap(), images(SM90).unwrap()].concat();
    assert_eq!(choose(&sass, 90), Choice::ElfOnly(vec!["sm_90".to_owned()]));
    let error = choose(&sass, 90).diagnostic(90).unwrap();
    assert!(error.message.contains("sm_90") && error.notes.iter().any(|note| note.contains("code=compute_90")));
    assert_eq!(choose(&[], 90), Choice::Nothing);
    assert!(choose(&[], 90).diagnostic(90).is_some());
}

#[test]
fn specific_targets_come_after_portable_ones() {
    let image = |sm, flags: u64| Entry { sm, flags: 0x11 | flags, ..Entry::raw(b"text") };
    let (a, f) = (0x10_0000, 0x20_0000);
    let bytes = fatbin(&[image(75, 0), image(90, a), image(100, f), image(100, a), image(90, 0)]);
    let images = images(&bytes).unwrap();
    for (device, target) in
        [(80, "sm_75"), (90, "sm_90"), (95, "sm_90"), (100, "sm_100f"), (103, "sm_100f"), (120, "sm_90")]
    {
        assert_eq!(chosen(&images, device).unwrap().target(), target, "sm_{device}");
    }
    assert_eq!(chosen(&images[1..2], 90).unwrap().target(), "sm_90a");
    assert_eq!(chosen(&images[1..2], 120).unwrap().target(), "sm_90a", "better than nothing");
    assert_eq!(chosen(&images[1..2], 89), None);

    let twice = [ZSTD, RAW].concat();
    let twice = self::images(&twice).unwrap();
    assert_eq!(chosen(&twice, 75).unwrap().payload.offset, twice[0].payload.offset, "the first of equals");
}

#[test]
fn cubins_tell_their_target_and_functions() {
    for (bytes, sm, functions) in [
        (CUBIN90, 90, ["fill", "scale"]),
        (CUBIN75_OLD, 75, ["fill", "scale"]),
        (CUBIN75_RELOCATABLE, 75, ["doubled", "_Z5twicef"]),
    ] {
        let elf = Elf::parse(bytes).unwrap();
        assert!(elf.is_cubin());
        assert_eq!(elf.sm(), Some(sm));
        let mut found = elf.functions().unwrap();
        found.sort_by_key(|name| functions.iter().position(|f| f == name));
        assert_eq!(found, functions);
        assert_eq!(fatbins_in_elf(bytes), Ok(vec![]));
    }
    let elf = Elf::parse(SHARED_OBJECT).unwrap();
    assert_eq!((elf.is_cubin(), elf.sm()), (false, None));
}

#[test]
fn cubins_tell_how_their_kernels_are_launched() {
    let cubin = Cubin::read(&Elf::parse(data!("kinds.sm_90.cubin")).unwrap()).unwrap();
    let kernel = |name: &str| cubin.kernels.iter().find(|kernel| kernel.name == name).unwrap().clone();
    let named = |name: &str| CubinKernel { name: name.to_owned(), ..CubinKernel::default() };
    let params = vec![(0, 1), (8, 16), (24, 8)];
    assert_eq!(kernel("small"), CubinKernel { params, static_shared: 128, ..named("small") });
    let params = vec![(0, 5000), (5000, 8)];
    assert_eq!(kernel("big"), CubinKernel { params, max_threads: [128, 1, 1], ..named("big") });
    let params = vec![(0, 8)];
    assert_eq!(kernel("clustered"), CubinKernel { params, required_cluster: [2, 1, 1], ..named("clustered") });
    let mut variables = cubin.variables.clone();
    variables.sort();
    assert_eq!((cubin.kernels.len(), &variables[..]), (3, &["counter", "hidden", "table"].map(str::to_owned)[..]));
    for cubin in [CUBIN90, CUBIN75_OLD] {
        let mut found = Cubin::read(&Elf::parse(cubin).unwrap()).unwrap();
        found.kernels.sort_by(|a, b| a.name.cmp(&b.name));
        let params = vec![(0, 8), (8, 4), (12, 4)];
        let expected = ["fill", "scale"].map(|name| CubinKernel { params: params.clone(), ..named(name) });
        assert_eq!((&found.kernels[..], found.variables.len()), (&expected[..], 0));
    }
    assert!(Cubin::read(&Elf::parse(SHARED_OBJECT).unwrap()).is_err());
}

#[test]
fn damaged_cubins_are_read_or_refused() {
    let whole: &[u8] = data!("kinds.sm_90.cubin");
    for place in 0..whole.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut bytes = whole.to_vec();
            bytes[place] = value;
            if let Ok(elf) = Elf::parse(&bytes) {
                let _ = Cubin::read(&elf);
            }
        }
    }
}

#[test]
fn machine_code_is_chosen_for_the_device() {
    let chosen = |bytes: &[u8], sm| machine_code(&images(bytes).unwrap(), sm).map(|image| image.target());
    assert_eq!(chosen(SM90, 90), Some("sm_90".into()));
    assert_eq!(chosen(SM90, 100), None, "machine code is of one major version");
    assert_eq!(chosen(SM90, 89), None);
    assert_eq!(chosen(RAW, 75), None, "PTX is none");
}

#[test]
fn fatbins_are_found_in_host_files() {
    for (file, name) in [(SHARED_OBJECT, ".nv_fatbin"), (OBJECT, "__nv_relfatbin")] {
        let sections = fatbins_in_elf(file).unwrap();
        let [section] = sections.as_slice() else { panic!("{} sections", sections.len()) };
        assert_eq!(section.name, name);
        assert_eq!(&file[section.offset..section.offset + section.bytes.len()], section.bytes);
        let images = images(section.bytes).unwrap();
        assert_eq!(images.len(), 1);
        assert!(images[0].ptx(LIMIT).unwrap().contains(".visible .entry doubled("));
    }
}

/// An ELF file of sections with these names, types and contents, behind the empty one that is always the first.
fn elf(sections: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut names = vec![0];
    let mut offsets = Vec::new();
    let table_name = (".shstrtab", 3, [].as_slice());
    for (name, _, _) in sections.iter().chain([&table_name]) {
        offsets.push(names.len() as u32);
        names.extend(name.bytes().chain([0]));
    }
    let mut out = vec![0; 64];
    let mut headers = vec![[0; 64]];
    for (index, (_, kind, contents)) in sections.iter().chain([&(".shstrtab", 3, names.as_slice())]).enumerate() {
        headers.push(section_header(offsets[index], *kind, out.len() as u64, contents.len() as u64));
        out.extend(*contents);
    }
    out[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    let table = out.len() as u64;
    out[40..48].copy_from_slice(&table.to_le_bytes());
    out[58..60].copy_from_slice(&64_u16.to_le_bytes());
    out[60..62].copy_from_slice(&(headers.len() as u16).to_le_bytes());
    out[62..64].copy_from_slice(&(headers.len() as u16 - 1).to_le_bytes());
    out.extend(headers.concat());
    out
}

fn section_header(name: u32, kind: u32, offset: u64, size: u64) -> [u8; 64] {
    let mut out = [0; 64];
    out[..4].copy_from_slice(&name.to_le_bytes());
    out[4..8].copy_from_slice(&kind.to_le_bytes());
    out[24..32].copy_from_slice(&offset.to_le_bytes());
    out[32..40].copy_from_slice(&size.to_le_bytes());
    out
}

fn section_table(file: &[u8]) -> usize {
    u64::from_le_bytes(*file[40..].first_chunk().unwrap()) as usize
}

#[test]
fn section_tables_are_read_with_care() {
    let good =
        elf(&[(".nv_fatbin", 1, ZSTD), (".nv_fatbin2", 1, b"no"), (".nv_fatbin", 8, b""), ("__nv_relfatbin", 1, LZ4)]);
    let names: Vec<_> = fatbins_in_elf(&good).unwrap().iter().map(|s| (s.name, s.bytes.len())).collect();
    assert_eq!(names, [(".nv_fatbin", ZSTD.len()), ("__nv_relfatbin", LZ4.len())]);

    // The number of sections and the index of their names may stand in the first section instead.
    let table = section_table(&good);
    let mut extended = good.clone();
    extended[60..64].copy_from_slice(&[0, 0, 0xFF, 0xFF]);
    extended[table + 32] = 6;
    extended[table + 40] = 5;
    assert_eq!(fatbins_in_elf(&extended).unwrap().len(), 2);

    let broken = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut file = good.clone();
        change(&mut file);
        code(fatbins_in_elf(&file))
    };
    assert_eq!(broken(&|_| ()), "ok");
    assert_eq!(broken(&|f| f[4] = 1), "container::elf", "32-bit");
    assert_eq!(broken(&|f| f[5] = 2), "container::elf", "big-endian");
    assert_eq!(broken(&|f| f[58] = 40), "container::elf", "size of a section header");
    assert_eq!(broken(&|f| f[47] = 0xFF), "container::elf", "table beyond the end");
    assert_eq!(broken(&|f| f[60] = 0xFF), "container::elf", "too many sections");
    assert_eq!(broken(&|f| f[62] = 0x7F), "container::elf", "no such section of names");
    assert_eq!(broken(&|f| f[table + 64 + 32 + 7] = 0xFF), "container::truncated", "section beyond the end");
    assert_eq!(broken(&|f| f[table + 64 + 24 + 7] = 0xFF), "container::truncated", "section behind the end");
    assert_eq!(broken(&|f| f[table + 64 + 3] = 0xFF), "ok", "a name beyond the end is no name");
    assert_eq!(
        broken(&|f| {
            f[60..64].copy_from_slice(&[0, 0, 0, 0]);
            f[table + 32..table + 40].fill(0xFF);
        }),
        "container::elf",
        "2^64 - 1 sections"
    );
    let truncated: [u8; 64] = *good.first_chunk().unwrap();
    assert_eq!(code(Elf::parse(&truncated)), "container::elf");
    assert_eq!(code(Elf::parse(&truncated[..63])), "container::truncated");
    assert_eq!(code(Elf::parse(&[0; 64])), "container::elf");
}

#[test]
fn sections_that_share_their_bytes_do_not_multiply_the_work() {
    let long = format!(".text.{}", "x".repeat(2 << 20));
    let mut file = elf(&[(&long, 1, ZSTD)]);
    let extra = 60_000;
    file.extend(vec![section_header(1, 1, 64, 1); extra].concat());
    file[60..62].copy_from_slice(&(extra as u16 + 3).to_le_bytes());
    assert_eq!(code(Elf::parse(&file).unwrap().functions()), "container::elf");

    let mut file = elf(&[(".nv_fatbin", 1, ZSTD)]);
    let whole = file.len() as u64;
    file.extend(vec![section_header(1, 1, 0, whole); extra].concat());
    file[60..62].copy_from_slice(&(extra as u16 + 3).to_le_bytes());
    assert_eq!(code(fatbins_in_elf(&file)), "container::elf");
}

/// Regions of memory by address.
struct Memory(BTreeMap<u64, Vec<u8>>);

impl<const N: usize> From<[(u64, Vec<u8>); N]> for Memory {
    fn from(regions: [(u64, Vec<u8>); N]) -> Self {
        Self(regions.into())
    }
}

impl HostMemory for Memory {
    fn read(&self, address: u64, len: usize) -> Result<Cow<'_, [u8]>, Diagnostic> {
        let region = self.0.range(..=address).next_back();
        region
            .and_then(|(start, bytes)| bytes.get((address - start) as usize..)?.get(..len))
            .map(Cow::Borrowed)
            .ok_or_else(|| Diagnostic::error("test::not-mapped", format!("{len} bytes at {address:#x}")))
    }
}

fn wrapper(version: u32, data: u64, list: u64) -> Vec<u8> {
    let mut out = 0x4662_43B1_u32.to_le_bytes().to_vec();
    out.extend(version.to_le_bytes());
    out.extend(data.to_le_bytes());
    out.extend(list.to_le_bytes());
    out
}

fn addresses(list: &[u64]) -> Vec<u8> {
    list.iter().flat_map(|address| address.to_le_bytes()).collect()
}

#[test]
fn wrappers_lead_to_fatbins() {
    let limits = Limits::default();
    // What follows a fatbin in memory is not part of it.
    let data = [BOTH, b"something else"].concat();
    let memory = Memory::from([(0x1000, wrapper(1, 0x2000, 0xBAD)), (0x2000, data)]);
    let found = read_wrapper(&memory, 0x1000, &limits).unwrap();
    assert_eq!((found.data.as_slice(), found.prelinked.len()), (BOTH, 0));
    assert_eq!(read_fatbin(&memory, 0x2000, &limits).as_deref(), Ok(BOTH));
    assert_eq!(read_module(&memory, 0x1000, &limits), Ok(HostModule::Wrapper(found)));
    assert_eq!(read_module(&memory, 0x2000, &limits), Ok(HostModule::Fatbin(BOTH.to_vec())));

    let memory = Memory::from([
        (0x1000, wrapper(2, 0x2000, 0x3000)),
        (0x2000, fatbin(&[])),
        (0x3000, addresses(&[0x5000, 0x4000, 0])),
        (0x4000, LZ4.to_vec()),
        (0x5000, ZSTD.to_vec()),
    ]);
    let found = read_wrapper(&memory, 0x1000, &limits).unwrap();
    assert_eq!((found.data, found.prelinked), (fatbin(&[]), vec![ZSTD.to_vec(), LZ4.to_vec()]));

    let parsed = Wrapper::parse(&wrapper(2, 0x2000, 0x3000)).unwrap();
    assert_eq!(parsed, Wrapper { version: 2, data: 0x2000, filename_or_fatbins: 0x3000 });
    assert_eq!(code(Wrapper::parse(&wrapper(1, 0, 0)[..23])), "container::truncated");
    assert_eq!(code(Wrapper::parse(&[0; 24])), "container::wrapper-magic");
}

#[test]
fn wrappers_that_go_round_in_circles_are_refused() {
    let limits = Limits { prelinked: 100, ..Limits::default() };
    let linked = |list: &[u64]| {
        Memory::from([
            (0x1000, wrapper(2, 0x2000, 0x3000)),
            (0x2000, ZSTD.to_vec()),
            (0x3000, addresses(list)),
            (0x8000, LZ4.to_vec()),
        ])
    };
    for list in [[0x1000, 0], [0x2000, 0], [0x3000, 0], [0x8000, 0x8000]] {
        assert_eq!(code(read_wrapper(&linked(&list), 0x1000, &limits)), "container::cyclic-wrapper", "{list:x?}");
    }
    let endless: Vec<u64> = vec![0x8000; 4000];
    assert_eq!(code(read_wrapper(&linked(&endless), 0x1000, &limits)), "container::cyclic-wrapper");

    // A list of different fatbins without an end.
    let mut memory = linked(&(0..4000).map(|n| 0x10_0000 + n * 0x1000).collect::<Vec<_>>());
    memory.0.extend((0..4000).map(|n| (0x10_0000 + n * 0x1000, fatbin(&[]))));
    assert_eq!(code(read_wrapper(&memory, 0x1000, &limits)), "container::prelinked-list");
    assert_eq!(code(read_wrapper(&memory, 0x1000, &Limits { module: 2000, ..limits })), "container::too-large");
    let mut full: Vec<u64> = (0..100).map(|n| 0x10_0000 + n * 0x1000).collect();
    full.push(0);
    memory.0.insert(0x3000, addresses(&full));
    assert_eq!(read_wrapper(&memory, 0x1000, &limits).map(|found| found.prelinked.len()), Ok(100));
    // A list that runs out of memory before it ends.
    assert_eq!(code(read_wrapper(&linked(&[0x8000]), 0x1000, &limits)), "test::not-mapped");
    // A list that holds another wrapper.
    let mut memory = linked(&[0x9000, 0]);
    memory.0.insert(0x9000, wrapper(2, 0x2000, 0x3000));
    assert_eq!(code(read_wrapper(&memory, 0x1000, &limits)), "container::fatbin-magic");
}

#[test]
fn pointers_and_sizes_in_host_memory_are_checked() {
    let limits = Limits::default();
    let with = |header: [u8; 16]| code(read_fatbin(&Memory::from([(0x2000, header.to_vec())]), 0x2000, &limits));
    assert_eq!(with(fatbin_header(1, 16, 0)), "ok");
    assert_eq!(with(fatbin_header(1, 16, 1)), "test::not-mapped");
    for size in [4 << 30, u64::MAX - 15, u64::MAX] {
        assert_eq!(with(fatbin_header(1, 16, size)), "container::too-large");
    }
    assert_eq!(with(fatbin_header(1, 0, 0)), "container::fatbin-header");
    assert_eq!(with([0; 16]), "container::fatbin-magic");

    for version in [0, 3, u32::MAX] {
        let memory = Memory::from([(0x1000, wrapper(version, 0x2000, 0)), (0x2000, ZSTD.to_vec())]);
        assert_eq!(code(read_wrapper(&memory, 0x1000, &limits)), "container::wrapper-version");
    }
    for address in [0, u64::MAX - 3] {
        let memory = Memory::from([(0x1000, wrapper(1, address, 0))]);
        assert_eq!(code(read_wrapper(&memory, 0x1000, &limits)), "container::host-memory");
        assert_eq!(code(read_module(&memory, address, &limits)), "container::host-memory");
    }

    /// Gives less than it was asked for.
    struct Short;
    impl HostMemory for Short {
        fn read(&self, _: u64, len: usize) -> Result<Cow<'_, [u8]>, Diagnostic> {
            Ok(Cow::Owned(fatbin_header(1, 16, 100)[..len.min(16)].to_vec()))
        }
    }
    assert_eq!(code(read_fatbin(&Short, 0x1000, &limits)), "container::host-memory");
}

#[test]
fn elf_files_in_memory_are_as_long_as_their_tables_say() {
    let made = elf(&[(".text.a", 1, b"code"), (".bss", 8, b"")]);
    for file in [CUBIN90, CUBIN75_OLD, CUBIN75_RELOCATABLE, SHARED_OBJECT, OBJECT, &made] {
        let memory = Memory::from([(0x1000, [file, b"something else"].concat())]);
        assert_eq!(read_module(&memory, 0x1000, &Limits::default()), Ok(HostModule::Elf(file.to_vec())));
    }
    let mut endless = made.clone();
    let table = section_table(&made);
    endless[table + 64 + 32 + 7] = 0x7F;
    let memory = Memory::from([(0x1000, endless)]);
    assert_eq!(code(read_module(&memory, 0x1000, &Limits::default())), "container::too-large");
}

#[test]
fn text_is_read_page_by_page() {
    let limits = Limits::default();
    let text = |at: u64, text: &str, pages: usize| {
        let mut region = vec![b'?'; pages * 4096];
        let start = at as usize % 4096;
        region[start..start + text.len()].copy_from_slice(text.as_bytes());
        region[start + text.len()] = 0;
        read_module(&Memory::from([(at - start as u64, region)]), at, &limits)
    };
    let expected = |text: &str| Ok(HostModule::Text(text.as_bytes().to_vec()));
    // The region ends with the page, so a read beyond it fails.
    for len in 0..8 {
        let ptx = &".version"[..len];
        assert_eq!(text(0x1_1000 - 1 - len as u64, ptx, 1), expected(ptx));
    }
    let long = format!(".version 7.0\n{}", "// line\n".repeat(2000));
    assert_eq!(text(0x1_0FFE, &long, 5), expected(&long));
    assert_eq!(text(0x1_0000, &long[..4095], 1), expected(&long[..4095]));
    let unended = Memory::from([(0x1_0000, vec![b' '; 4096])]);
    assert_eq!(code(read_module(&unended, 0x1_0000, &limits)), "test::not-mapped");
    let small = Limits { module: 4096 + 4, ..limits };
    let unended = Memory::from([(0x1_0000, vec![b' '; 8192])]);
    assert_eq!(code(read_module(&unended, 0x1_0000, &small)), "container::too-large");
}
