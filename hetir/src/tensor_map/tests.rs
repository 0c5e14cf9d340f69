//! Maps and their bytes.

use super::*;
use crate::attr::MapField;

fn plane() -> TensorMap {
    TensorMap {
        address: 0x1000,
        element: MapElement::F16,
        extents: vec![20, 3],
        strides: vec![64],
        steps: vec![1, 1],
        form: Form::Box(vec![16, 2]),
        interleave: 0,
        swizzle: 0,
        atoms: 0,
        promotion: 0,
        nan: true,
    }
}

#[test]
fn bytes_stand_for_the_map_that_they_were_made_of() {
    let map = TensorMap { extents: vec![1 << 32, 3], swizzle: 3, ..plane() };
    assert_eq!(TensorMap::decode(&map.encode()), Ok(map));
}

#[test]
fn a_map_may_be_made_field_by_field() {
    use MapField as F;
    let mut bytes = [0; BYTES];
    let fields = [
        (F::GlobalAddress, 0, 0x1000),
        (F::Rank, 0, 1),
        (F::ElemType, 0, 6),
        (F::FillMode, 0, 1),
        (F::GlobalDim, 0, 20),
        (F::GlobalDim, 1, 3),
        (F::GlobalStride, 0, 64),
        (F::BoxDim, 0, 16),
        (F::BoxDim, 1, 2),
        (F::ElementStride, 0, 1),
        (F::ElementStride, 1, 1),
    ];
    for (field, ordinal, value) in fields {
        assert_eq!(TensorMap::replace(&mut bytes, field, ordinal, value), Ok(()));
    }
    assert_eq!(TensorMap::decode(&bytes), Ok(plane()));
    assert!(TensorMap::replace(&mut bytes, F::GlobalStride, 4, 0).is_err());
    assert!(TensorMap::replace(&mut bytes, F::ElemType, 0, 13).is_err());
}

#[test]
fn what_is_outside_has_no_place_in_global_memory() {
    let piece = |shared, global, bytes| Piece { shared, global, bytes };
    // Columns -8 to 7 of the rows 2 and 3, of which there is no 3.
    let pieces = plane().pieces(Way::Load, 0x400, &[-8, 2]);
    let expected = vec![piece(0x400, None, 16), piece(0x410, Some(0x1080), 16), piece(0x420, None, 32)];
    assert_eq!(pieces, Ok(expected));
    // Columns 16 to 31, of which there are four.
    let pieces = plane().pieces(Way::Load, 0x400, &[16, 0]);
    let both = [(0x400, 0x1020), (0x420, 0x1060)];
    let expected: Vec<Piece> = both.iter().flat_map(|&(s, g)| [piece(s, Some(g), 8), piece(s + 8, None, 24)]).collect();
    assert_eq!(pieces, Ok(expected));
    assert_eq!(plane().outside(4), [0xf7, 0x7f, 0xf7, 0x7f]);
}

#[test]
fn swizzled_lines_are_cut_into_units() {
    let map =
        TensorMap { extents: vec![64, 64], strides: vec![128], form: Form::Box(vec![64, 2]), swizzle: 3, ..plane() };
    let pieces = map.pieces(Way::Load, 0x400, &[0, 0]).unwrap();
    assert_eq!(pieces.len(), 16);
    assert_eq!(pieces[1], Piece { shared: 0x410, global: Some(0x1010), bytes: 16 });
    assert_eq!(pieces[8], Piece { shared: 0x490, global: Some(0x1080), bytes: 16 });
    assert_eq!(pieces[9], Piece { shared: 0x480, global: Some(0x1090), bytes: 16 });
}

#[test]
fn lines_shorter_than_their_swizzle_lie_apart() {
    let map = TensorMap { swizzle: 3, ..plane() };
    let places: Vec<u64> = map.pieces(Way::Load, 0x400, &[0, 0]).unwrap().iter().map(|piece| piece.shared).collect();
    assert_eq!(places, [0x400, 0x410, 0x490, 0x480]);
    assert_eq!(map.bytes(), 64);
}

/// Stride and element as the assembler's code leaves them: only what is named changes.
#[test]
fn a_field_is_replaced_and_nothing_else() {
    use MapField as F;
    let of = |fields: &[(F, u32, u64)]| {
        let mut bytes = plane().encode();
        for &(field, ordinal, value) in fields {
            TensorMap::replace(&mut bytes, field, ordinal, value).unwrap();
        }
        TensorMap::decode(&bytes)
    };
    let far = TensorMap { strides: vec![0xf_edcb_a987_6540], ..plane() };
    let kept = far.strides[0] & ((1 << 40) - 1);
    assert_eq!(of(&[(F::GlobalStride, 0, far.strides[0])]), Ok(TensorMap { strides: vec![kept], ..plane() }));
    let element = |element| Ok(TensorMap { element, ..plane() });
    assert_eq!(of(&[(F::ElemType, 0, 12)]), element(MapElement::Tf32Ftz));
    assert_eq!(of(&[(F::ElemType, 0, 12), (F::ElemType, 0, 7)]), element(MapElement::Tf32));
    assert_eq!(of(&[(F::ElemType, 0, 12), (F::ElemType, 0, 10)]), element(MapElement::Bf16));
    assert_eq!(of(&[(F::BoxDim, 0, 256), (F::BoxDim, 0, 16 + 256)]), Ok(plane()));
}

#[test]
fn what_no_copy_can_follow_is_an_error() {
    use MapField as F;
    let broken = |field, value| {
        let mut bytes = plane().encode();
        TensorMap::replace(&mut bytes, field, 0, value).unwrap();
        let map = TensorMap::decode(&bytes);
        map.and_then(|map| map.pieces(Way::Load, 0x400, &[0, 0])).is_err()
    };
    assert!(broken(F::Rank, 5) && broken(F::Rank, 2) && broken(F::Interleave, 1) && broken(F::SwizzleMode, 4));
    assert!(broken(F::SwizzleAtomicity, 1) && broken(F::BoxDim, 12) && !broken(F::BoxDim, 8));
    let columns = Columns { lower: vec![0], upper: vec![0], channels: 16, pixels: 2 };
    let columns = TensorMap { extents: vec![20; 3], strides: vec![64; 2], form: Form::Columns(columns), ..plane() };
    assert!(columns.pieces(Way::Load, 0x400, &[0; 3]).is_err());
    let large = TensorMap {
        extents: vec![4; 3],
        strides: vec![64; 2],
        form: Form::Box(vec![256; 3]),
        steps: vec![1; 3],
        ..plane()
    };
    assert!(large.pieces(Way::Load, 0x400, &[0; 3]).is_err());
    let is_wrong = |way, shared, coordinates: &[i32]| plane().pieces(way, shared, coordinates).is_err();
    assert!(is_wrong(Way::Load, 0x400, &[0]) && is_wrong(Way::Load, 0x410, &[0, 0]));
    assert!(is_wrong(Way::Load, 0x400, &[4, 0]) && is_wrong(Way::Store, 0x400, &[-4, 0]));
    for (coordinates, stored) in [([8, 0], true), ([-8, 0], false), ([0, -1], false)] {
        assert!(!is_wrong(Way::Load, 0x400, &coordinates));
        assert_eq!(is_wrong(Way::Store, 0x400, &coordinates), !stored, "{coordinates:?}");
    }
}
