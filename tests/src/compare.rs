//! Compares memory after a launch with what was expected of it.

use crate::elem::Elem;
use crate::header::{Buffer, Expect, Tolerance, Want};

/// So many wrong elements of a buffer are shown.
const SHOWN: usize = 8;

/// What is wrong with a buffer after a launch: one line an element, or `None`. `oracle` is what the interpreter left
/// there; without it (the engine is the oracle itself) a buffer that expects it is right.
pub fn mismatch(name: &str, buffer: &Buffer, got: &[u8], oracle: Option<&[u8]>) -> Option<String> {
    let elem = buffer.elem;
    let want_at = |index: usize| -> (Want, Tolerance) {
        match &buffer.expect {
            Expect::Any => (Want::Any, Tolerance::default()),
            Expect::Oracle => match oracle {
                Some(memory) => (Want::Bits(elem.load(memory, index)), buffer.tolerance),
                None => (Want::Any, Tolerance::default()),
            },
            Expect::Elements(list) if index < list.len() => (list[index], buffer.tolerance),
            Expect::Elements(_) | Expect::Unchanged => {
                (Want::Bits(elem.load(&buffer.initial, index)), Tolerance::default())
            }
        }
    };
    let mut lines = Vec::new();
    let mut wrong = 0;
    for index in 0..buffer.len {
        let bits = elem.load(got, index);
        let (want, tolerance) = want_at(index);
        if matches(elem, want, bits, tolerance) {
            continue;
        }
        wrong += 1;
        if wrong <= SHOWN {
            lines.push(format!("  {name}[{index}]: expected {}, got {}", show(elem, want), elem.show(bits)));
        }
    }
    if wrong > SHOWN {
        lines.push(format!("  ... {wrong} of {} elements of {name} are wrong", buffer.len));
    }
    (wrong > 0).then(|| lines.join("\n"))
}

fn show(elem: Elem, want: Want) -> String {
    match want {
        Want::Bits(bits) => elem.show(bits),
        Want::AnyNan => "any NaN".into(),
        Want::Any => "anything".into(),
    }
}

/// With a tolerance, NaNs are equal, zeros are equal, and infinities are only equal to themselves; without one the
/// bits decide.
fn matches(elem: Elem, want: Want, got: u64, tolerance: Tolerance) -> bool {
    let want = match want {
        Want::Any => return true,
        Want::AnyNan => return elem.is_nan(got),
        Want::Bits(want) => want,
    };
    if want == got {
        return true;
    }
    if tolerance.is_exact() {
        return false;
    }
    let (Some(a), Some(b)) = (elem.to_f64(want), elem.to_f64(got)) else { return false };
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    if a.is_infinite() || b.is_infinite() {
        return false;
    }
    let near_ulp = tolerance.ulp.is_some_and(|limit| elem.ulps(want, got).is_some_and(|ulps| ulps <= limit));
    near_ulp || tolerance.abs.is_some_and(|limit| (a - b).abs() <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f32s(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn buffer(initial: &[f32], expect: Expect, tolerance: Tolerance) -> Buffer {
        Buffer { elem: Elem::F32, len: initial.len(), initial: f32s(initial), expect, tolerance, view: None }
    }

    fn elements(values: &[f32]) -> Expect {
        Expect::Elements(values.iter().map(|v| Want::Bits(u64::from(v.to_bits()))).collect())
    }

    const EXACT: Tolerance = Tolerance { ulp: None, abs: None };

    #[test]
    fn bits_decide() {
        let zero = buffer(&[1.0], elements(&[0.0]), EXACT);
        assert_eq!(mismatch("arg0", &zero, &f32s(&[0.0]), None), None);
        assert_eq!(
            mismatch("arg0", &zero, &f32s(&[-0.0]), None).as_deref(),
            Some("  arg0[0]: expected 0.0 (0x00000000), got -0.0 (0x80000000)")
        );
        let nan = buffer(&[0.0], Expect::Elements(vec![Want::Bits(0x7fff_ffff)]), EXACT);
        assert!(mismatch("a", &nan, &0x7fc0_0000u32.to_le_bytes(), None).is_some());
        let any_nan = buffer(&[0.0], Expect::Elements(vec![Want::AnyNan]), EXACT);
        assert_eq!(mismatch("a", &any_nan, &0x7fc0_0000u32.to_le_bytes(), None), None);
        assert!(mismatch("a", &any_nan, &f32s(&[1.0]), None).is_some());
    }

    #[test]
    fn elements_behind_the_list_are_unchanged() {
        let two = buffer(&[5.0, 6.0], elements(&[1.0]), EXACT);
        assert_eq!(mismatch("a", &two, &f32s(&[1.0, 6.0]), None), None);
        assert!(mismatch("a", &two, &f32s(&[1.0, 7.0]), None).unwrap().contains("a[1]: expected 6.0"));
        let input = buffer(&[5.0], Expect::Unchanged, EXACT);
        assert!(mismatch("a", &input, &f32s(&[4.0]), None).is_some());
        let scratch = buffer(&[5.0], Expect::Any, EXACT);
        assert_eq!(mismatch("a", &scratch, &f32s(&[4.0]), None), None);
    }

    #[test]
    fn tolerances() {
        let ulp = |n| Tolerance { ulp: Some(n), abs: None };
        let next = f32::from_bits(1f32.to_bits() + 2);
        assert_eq!(mismatch("a", &buffer(&[0.0], elements(&[1.0]), ulp(2)), &f32s(&[next]), None), None);
        assert!(mismatch("a", &buffer(&[0.0], elements(&[1.0]), ulp(1)), &f32s(&[next]), None).is_some());
        let abs = Tolerance { ulp: None, abs: Some(0.5) };
        assert_eq!(mismatch("a", &buffer(&[0.0], elements(&[1.0]), abs), &f32s(&[1.5]), None), None);
        assert!(mismatch("a", &buffer(&[0.0], elements(&[1.0]), abs), &f32s(&[1.75]), None).is_some());
        assert!(mismatch("a", &buffer(&[0.0], elements(&[f32::INFINITY]), ulp(9)), &f32s(&[f32::MAX]), None).is_some());
        assert!(mismatch("a", &buffer(&[0.0], elements(&[1.0]), abs), &f32s(&[f32::NAN]), None).is_some());
        assert_eq!(mismatch("a", &buffer(&[0.0], elements(&[-f32::NAN]), abs), &f32s(&[f32::NAN]), None), None);
    }

    #[test]
    fn the_oracle_is_compared_where_there_is_one() {
        let oracle = buffer(&[0.0, 0.0], Expect::Oracle, EXACT);
        assert_eq!(mismatch("a", &oracle, &f32s(&[1.0, 2.0]), None), None);
        assert_eq!(mismatch("a", &oracle, &f32s(&[1.0, 2.0]), Some(&f32s(&[1.0, 2.0]))), None);
        assert!(mismatch("a", &oracle, &f32s(&[1.0, 2.0]), Some(&f32s(&[1.0, 3.0]))).is_some());
    }

    #[test]
    fn long_lists_are_cut_and_counted() {
        let many = buffer(&[0.0; 20], elements(&[1.0; 20]), EXACT);
        let text = mismatch("a", &many, &f32s(&[0.0; 20]), None).unwrap();
        assert_eq!(text.lines().count(), 9);
        assert!(text.ends_with("20 of 20 elements of a are wrong"));
    }
}
