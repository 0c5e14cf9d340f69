use super::*;
use crate::host::Features;

const TEXT: &str = "sig0: (i32) -> (i32)
global @used: 8 align 8 {
    reloc 0: @pointed size 8 generic
}
global @pointed: 4 align 4 {
    bytes \"01020304\"
}
global @unused: 4 align 4

kernel @k(p: 8 align 8 at 0) {
block0:
    v0: i64 = global_addr @used
    v1: i32 = const 1
    v2: i32 = call @f, v1
    ret
}

func @f(i32) -> (i32) {
block0(v0: i32):
    v1: i32 = iadd v0, v0
    ret v1
}

func @g(i32) -> (i32) {
block0(v0: i32):
    ret v0
}
";

fn parse(text: &str) -> Module {
    hetir::text::parse(text).unwrap_or_else(|errors| panic!("{errors:?}"))
}

const SHAPE: Shape = Shape { block: [32, 1, 1], form: Form::Warp };

fn of(module: &Module, shape: Shape, machine: &Machine) -> Digest {
    key(module, module.function("k").unwrap(), &shape, machine)
}

#[test]
fn what_matters_changes_the_key() {
    let machine = Machine::host(Features::Native).unwrap();
    let first = of(&parse(TEXT), SHAPE, &machine);
    assert_eq!(first, of(&parse(TEXT), SHAPE, &machine));
    for (from, to) in [
        ("const 1", "const 2"),
        ("iadd v0, v0", "isub v0, v0"),
        ("01020304", "01020305"),
        ("@used: 8 align 8", "@used: 16 align 8"),
        ("p: 8 align 8 at 0", "p: 4 align 4 at 0"),
        ("sig0: (i32)", "sig0: (i64)"),
        // A variable is a number in code, which another one before it changes.
        ("global @used: 8", "global @new: 4 align 4\nglobal @used: 8"),
    ] {
        let text = TEXT.replacen(from, to, 1);
        assert_ne!(text, TEXT);
        assert_ne!(of(&parse(&text), SHAPE, &machine), first, "{to}");
    }
    let mut elsewhere = parse(TEXT);
    elsewhere.functions[1].body.as_mut().unwrap().spans[0].start += 1;
    assert_ne!(of(&elsewhere, SHAPE, &machine), first, "a failure there is told by another place");

    for shape in [
        Shape { block: [1, 32, 1], ..SHAPE },
        Shape { block: [64, 1, 1], ..SHAPE },
        Shape { form: Form::Lane, ..SHAPE },
    ] {
        assert_ne!(of(&parse(TEXT), shape, &machine), first, "{shape:?}");
    }
    let other = Machine { features: format!("{},-x", machine.features), ..machine.clone() };
    assert_ne!(of(&parse(TEXT), SHAPE, &other), first);
    assert_ne!(of(&parse(TEXT), SHAPE, &Machine { cpu: "other".into(), ..machine }), first);
}

#[test]
fn what_is_not_reached_does_not() {
    let machine = Machine::host(Features::Native).unwrap();
    let first = of(&parse(TEXT), SHAPE, &machine);
    for (from, to) in [("    ret v0\n", "    v1: i32 = iadd v0, v0\n    ret v1\n"), ("@unused: 4", "@unused: 8")] {
        let text = TEXT.replacen(from, to, 1);
        assert_ne!(text, TEXT);
        assert_eq!(of(&parse(&text), SHAPE, &machine), first, "{to}");
    }
}

#[test]
fn a_pointer_may_lead_to_any_function() {
    let machine = Machine::host(Features::Native).unwrap();
    let indirect = TEXT.replacen("call @f, v1", "calli sig0, v0, v1", 1);
    let changed = indirect.replacen("    ret v0\n", "    v1: i32 = iadd v0, v0\n    ret v1\n", 1);
    assert_ne!(of(&parse(&indirect), SHAPE, &machine), of(&parse(&changed), SHAPE, &machine));
}
