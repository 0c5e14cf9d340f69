use super::super::elf::{Section, Symbol};
use super::*;

const BASE: u64 = 0x1000_0000;
const PAGE: usize = 4096;

fn section(flags: u64, bytes: &'static [u8]) -> Section<'static> {
    Section { name: ".any", kind: 1, flags: ALLOC | flags, align: 4, size: bytes.len() as u64, bytes }
}

fn symbol(name: &'static str, place: Place) -> Symbol<'static> {
    Symbol { name, place }
}

/// Code of 16 zeros with one relocation at 4 of symbol 0.
fn one(arch: Arch, kind: u32, addend: i64, place: Place) -> Object<'static> {
    Object {
        arch,
        sections: vec![section(EXECUTE, &[0; 16]), section(0, &[1; 24]), section(WRITE, &[2; 8])],
        symbols: vec![symbol("it", place)],
        relocations: vec![Relocation { section: 0, offset: 4, kind, symbol: 0, addend }],
    }
}

/// The image, where `it` is at `address`, and where the constants begin.
fn image(object: &Object, address: usize) -> Result<(Vec<u8>, usize), String> {
    let layout = Layout::new(object, PAGE)?;
    let mut image = vec![0; layout.size()];
    layout.write(&mut image, BASE, |name| (name == "it").then_some(address))?;
    Ok((image, layout.parts[1].start))
}

fn word(image: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*image[at..].first_chunk().unwrap())
}

fn long(image: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*image[at..].first_chunk().unwrap())
}

#[test]
fn parts_begin_at_pages() {
    let object = one(Arch::X86_64, 2, 0, Place::In { section: 1, offset: 4 });
    let layout = Layout::new(&object, PAGE).unwrap();
    assert_eq!(layout.parts, [0..16, PAGE..PAGE + 24, 2 * PAGE..2 * PAGE + 8]);
    assert_eq!(layout.symbol("it"), Some(PAGE + 4));
    assert_eq!(layout.symbol("that"), None);
}

#[test]
fn x86_64() {
    let inside = Place::In { section: 1, offset: 8 };
    // target - 4 - place
    let (bytes, constants) = image(&one(Arch::X86_64, 2, -4, inside), 0).unwrap();
    assert_eq!(word(&bytes, 4) as usize, constants + 8 - 4 - 4);
    let (bytes, constants) = image(&one(Arch::X86_64, 1, 3, inside), 0).unwrap();
    assert_eq!(long(&bytes, 4), BASE + constants as u64 + 8 + 3);

    // A call of what is far away goes by a jump behind the code, whose address is kept behind the constants.
    let far = 0x7fff_1234_5678;
    let (bytes, constants) = image(&one(Arch::X86_64, 4, -4, Place::Elsewhere), far).unwrap();
    assert_eq!(word(&bytes, 4), 16 - 4 - 4);
    assert_eq!(bytes[16..18], [0xff, 0x25]);
    assert_eq!(22 + word(&bytes, 18) as usize, constants + 24);
    assert_eq!(long(&bytes, constants + 24), far as u64);

    let (bytes, constants) = image(&one(Arch::X86_64, 42, -4, Place::Elsewhere), far).unwrap();
    assert_eq!(word(&bytes, 4) as usize, constants + 24 - 4 - 4);
    assert_eq!(long(&bytes, constants + 24), far as u64);

    let error = image(&one(Arch::X86_64, 2, 0, Place::Elsewhere), far).unwrap_err();
    assert_eq!(error, "relocation 2 of `it` does not fit");
    assert_eq!(image(&one(Arch::X86_64, 23, 0, inside), 0).unwrap_err(), "unknown relocation 23");
}

#[test]
fn aarch64() {
    // Page and low part: constants are one page behind, `it` 8 bytes into them.
    let inside = Place::In { section: 1, offset: 8 };
    let (bytes, _) = image(&one(Arch::Aarch64, 275, 0, inside), 0).unwrap();
    assert_eq!(word(&bytes, 4), 1 << 29);
    let (bytes, _) = image(&one(Arch::Aarch64, 275, 5 * 4096, inside), 0).unwrap();
    assert_eq!(word(&bytes, 4), 2 << 29 | 1 << 5);
    let (bytes, _) = image(&one(Arch::Aarch64, 275, -3 * 4096, inside), 0).unwrap();
    assert_eq!(word(&bytes, 4), (-2i32 as u32 & 3) << 29 | 0x7ffff << 5);
    for (kind, shift) in [(277, 0), (278, 0), (284, 1), (285, 2), (286, 3)] {
        let (bytes, _) = image(&one(Arch::Aarch64, kind, 0, inside), 0).unwrap();
        assert_eq!(word(&bytes, 4), (8 >> shift) << 10, "{kind}");
    }
    assert!(image(&one(Arch::Aarch64, 299, 0, inside), 0).is_err(), "8 is no multiple of 16");

    // bl to a jump right behind the code: 12 bytes ahead.
    let far = 0x7fff_1234_5678;
    let (bytes, constants) = image(&one(Arch::Aarch64, 283, 0, Place::Elsewhere), far).unwrap();
    assert_eq!(word(&bytes, 4), 3);
    // adrp x16, one page ahead; ldr x16, [x16, #24]; br x16
    assert_eq!(word(&bytes, 16), 0x9000_0010 | 1 << 29);
    assert_eq!(word(&bytes, 20), 0xf940_0210 | (24 / 8) << 10);
    assert_eq!(word(&bytes, 24), 0xd61f_0200);
    assert_eq!(long(&bytes, constants + 24), far as u64);

    // Distances of branches are in instructions: 8 bytes back from 4 is out of the section, but a distance.
    let before = Place::In { section: 0, offset: 0 };
    let (bytes, _) = image(&one(Arch::Aarch64, 280, -4, before), 0).unwrap();
    assert_eq!(word(&bytes, 4), (-2i32 as u32 & 0x7ffff) << 5);
    assert!(image(&one(Arch::Aarch64, 279, 1 << 16, before), 0).is_err());
    assert!(image(&one(Arch::Aarch64, 282, 2, before), 0).is_err());
}

#[test]
fn relocations_outside_their_section() {
    let mut object = one(Arch::X86_64, 1, 0, Place::In { section: 0, offset: 0 });
    object.relocations[0].offset = 8;
    assert!(image(&object, 0).is_ok());
    for offset in [9, 15, 16, 17, u64::MAX] {
        object.relocations[0].offset = offset;
        assert!(image(&object, 0).is_err(), "{offset}");
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let mut object = one(Arch::X86_64, 2, 0, Place::In { section: 1, offset: 4 });
    object.sections[2].kind = NOBITS;
    for size in [MOST as u64, u64::MAX] {
        object.sections[2].size = size;
        assert_eq!(Layout::new(&object, PAGE).unwrap_err(), NO_ROOM);
    }
    object.sections[2].size = 8;
    object.sections[2].align = 2 * PAGE as u64;
    assert_eq!(Layout::new(&object, PAGE).unwrap_err(), NO_ROOM);
}
