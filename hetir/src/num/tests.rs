use super::*;

#[test]
fn literals() {
    assert_eq!(add(Format::F32, 0x3f800000, 0x3f800000, Mode::RN), 0x40000000);
}
