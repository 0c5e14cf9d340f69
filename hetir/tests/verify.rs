//! The verifier: what is wrong is reported, where it is, and nothing else.

use hetir::build::{Attrs, Builder};
use hetir::diag::{Diagnostic, Span, line_column, render};
use hetir::entity::{Block, Inst, Value};
use hetir::ir::{Body, Def, Function, FunctionKind, MAX_ATTRS, Module, Signature, ValueData};
use hetir::op::Op;
use hetir::text;
use hetir::types::{Scalar, Type};
use hetir::verify::{MAX_ERRORS, Rule, verify};
use std::collections::BTreeSet;
use std::path::Path;

/// Rules that no text can break.
const BEYOND_TEXT: [Rule; 5] =
    [Rule::Types, Rule::KernelSignature, Rule::Placement, Rule::Definitions, Rule::Attributes];

fn code(d: &Diagnostic) -> &'static str {
    d.code.strip_prefix("verify::").expect("the verifier's codes begin so")
}

#[test]
fn every_announced_error_is_reported_and_no_other() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/verify");
    let mut seen = BTreeSet::new();
    let mut failures = String::new();
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for path in files.iter().filter(|p| p.extension().is_some_and(|e| e == "het")) {
        let name = path.file_name().unwrap().to_string_lossy();
        let source = std::fs::read_to_string(path).unwrap();
        let mut expected: Vec<(usize, String)> = Vec::new();
        for (n, line) in source.lines().enumerate() {
            expected.extend(line.split(" ; error: ").skip(1).map(|e| (n + 1, e.to_string())));
        }
        let module = text::parse(&source).unwrap_or_else(|e| panic!("{}", render(&e, &name, &source)));
        let errors = verify(&module).err().unwrap_or_default();
        let mut found: Vec<(usize, String)> = Vec::new();
        for e in &errors {
            let line = e.span().map_or(0, |s| line_column(&source, s.start).0);
            found.push((line, format!("{}: {}", code(e), e.message)));
            seen.insert(code(e));
        }
        found.sort();
        expected.sort();
        for (line, missing) in expected.iter().filter(|e| !found.contains(e)) {
            failures += &format!("{name}:{line}: missing: {missing}\n");
        }
        for (line, extra) in found.iter().filter(|e| !expected.contains(e)) {
            failures += &format!("{name}:{line}: extra: {extra}\n");
        }
        if failures.is_empty() && found.len() != expected.len() {
            failures += &format!("{name}: {} errors, {} announced\n", found.len(), expected.len());
        }
    }
    let untested = |r: &&Rule| !BEYOND_TEXT.contains(r) && !seen.contains(&r.code()["verify::".len()..]);
    for rule in Rule::ALL.iter().filter(untested) {
        failures += &format!("no test breaks rule {}: {}\n", rule.number(), rule.text());
    }
    assert!(failures.is_empty(), "\n{failures}");
}

/// `code: message` of each error, with its note.
fn errors(module: &Module) -> Vec<String> {
    let errors = verify(module).err().unwrap_or_default();
    errors.iter().map(|e| format!("{}: {} | {}", code(e), e.message, e.notes.join(" "))).collect()
}

fn with_body(kind: FunctionKind, build: impl FnOnce(&mut Body)) -> Module {
    let mut f = Function::new("f", kind);
    let mut body = Body::default();
    build(&mut body);
    f.body = Some(body);
    Module { functions: vec![f], ..Module::default() }
}

fn device(build: impl FnOnce(&mut Body)) -> Module {
    with_body(FunctionKind::Device, build)
}

#[test]
fn without_a_span_the_place_is_named() {
    let module = device(|body| {
        let entry = body.add_block();
        let next = body.add_block();
        let mut b = Builder::new(body, entry);
        b.jump(next, &[]);
        b.block = next;
        let one = b.constant(Type::F32, 1);
        let sum = b.op(Op::IAdd, Type::F32, &[one, one]);
        b.op(Op::IAdd, Type::F32, &[sum, sum]);
        b.effect(Op::Ret, Type::B1, 0, &[]);
    });
    assert_eq!(
        errors(&module),
        [
            "type-class: iadd needs an integer of 8 to 64 bits, not f32 | in function @f, block1: \
             `v1: f32 = iadd v0, v0`",
            "type-class: iadd needs an integer of 8 to 64 bits, not f32 | in function @f, block1: \
             `v2: f32 = iadd v1, v1`",
        ]
    );
}

#[test]
fn kernels_have_no_signature() {
    let mut f = Function::new("k", FunctionKind::Kernel { params: vec![], bounds: Default::default() });
    f.signature = Signature { params: vec![], results: vec![Type::I32] };
    let module = Module { functions: vec![f], ..Module::default() };
    let expected = "kernel-signature: a kernel takes its parameters from param space and returns nothing";
    assert_eq!(errors(&module), [format!("{expected} | in function @k")]);
}

#[test]
fn types_are_checked_wherever_they_stand() {
    let bad = Type { scalar: Scalar::I64, lanes: 3 };
    let mut module = device(|body| {
        let entry = body.add_block();
        let mut b = Builder::new(body, entry);
        let mut of_const = b.constant(Type::I32, 1);
        b.body.values[of_const.index()].ty = bad;
        of_const = b.constant(Type::I32, 2);
        if let Def::Result(inst) = b.body.values[of_const.index()].def {
            b.body.insts[inst.index()].ty = bad;
            b.body.values[of_const.index()].ty = bad;
        }
        b.effect(Op::Ret, Type::B1, 0, &[]);
    });
    module.signatures.push(Signature { params: vec![bad], results: vec![] });
    let codes: Vec<String> = errors(&module).iter().map(|e| e.split(':').next().unwrap().to_string()).collect();
    assert!(codes.iter().filter(|c| *c == "types").count() >= 3, "{codes:?}");
}

#[test]
fn placement() {
    let module = device(|body| {
        let entry = body.add_block();
        let mut b = Builder::new(body, entry);
        let one = b.inst(Op::Const, Type::I32, 1, &[]);
        b.body.append(entry, one);
        b.body.append(entry, Inst::new(77));
        b.effect(Op::Ret, Type::B1, 0, &[]);
        b.body.spans.pop();
    });
    assert_eq!(
        errors(&module),
        [
            "placement: 2 spans for 3 instructions | in function @f".replace("2 spans for 3", "1 spans for 2"),
            "placement: the instruction stands in two places | in function @f, block0: `v0: i32 = const 1`".into(),
            "placement: block0 holds inst77, which does not exist | in function @f".into(),
        ]
    );
}

#[test]
fn definitions() {
    let module = device(|body| {
        let entry = body.add_block();
        let other = body.add_block();
        let twice = body.add_param(other, Type::I32);
        body.blocks[1].params.push(twice);
        body.blocks[1].params.push(Value::new(99));
        let mut b = Builder::new(body, entry);
        let moved = b.constant(Type::I32, 1);
        b.body.values[moved.index()].def = Def::Param(Block::new(0));
        b.effect(Op::Ret, Type::B1, 0, &[]);
        b.block = other;
        b.effect(Op::Ret, Type::B1, 0, &[]);
    });
    assert_eq!(
        errors(&module),
        [
            "definitions: v0 has data that names another definition | in function @f, block0: `v0: i32 = const 1`",
            "definitions: v1 is defined twice | in function @f, block1",
            "definitions: v99 does not exist | in function @f, block1",
        ]
    );
    let module = device(|body| {
        let entry = body.add_block();
        let lost = body.add_value(Type::I32, Def::None);
        let detached = body.make(Op::Const, Type::I32, [0; MAX_ATTRS], 1, &[], &[Type::I32], Span::default());
        let detached = body.results(detached)[0];
        let mut b = Builder::new(body, entry);
        b.op(Op::IAdd, Type::I32, &[lost, detached]);
        b.op(Op::INeg, Type::I32, &[Value::new(99)]);
        b.effect(Op::Ret, Type::B1, 0, &[]);
    });
    assert_eq!(
        errors(&module),
        [
            "definitions: v2 is not defined in any block | in function @f, block0: `v0: i32 = iadd v2, v3`",
            "definitions: v3 is not defined in any block | in function @f, block0: `v0: i32 = iadd v2, v3`",
            "definitions: v99 does not exist | in function @f, block0: `v1: i32 = ineg v99`",
        ]
    );
}

#[test]
fn attributes_and_what_a_row_lacks() {
    let module = device(|body| {
        let entry = body.add_block();
        let mut b = Builder::new(body, entry);
        let one = b.constant(Type::F32, 1);
        let add = b.inst(Attrs::of(Op::FAdd), Type::F32, 0, &[one, one]);
        b.body.insts[add.index()].attrs = [5, 2, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        let add = b.inst(Attrs::of(Op::FAdd), Type::F32, 3, &[one, one]);
        assert_eq!(b.body.inst(add).attrs, [0; MAX_ATTRS]);
        let bits = b.constant(Type::I32, 1);
        let mask = b.inst(Op::Bmsk, Type::I32, 0, &[bits, bits]);
        b.body.insts[mask.index()].ty = Type::I32;
        b.effect(Op::Ret, Type::B1, 0, &[]);
    });
    let messages: Vec<String> = errors(&module).iter().map(|e| e.split(" | ").next().unwrap().to_string()).collect();
    assert_eq!(
        messages,
        [
            "attributes: Round has no variant 5",
            "attributes: Ftz has no variant 2",
            "attributes: fadd has 4 attributes, but byte 4 is 1",
            "immediate: fadd has no immediate, but 3 is recorded",
            "type-class: bmsk has no controlling type, but i32 is recorded",
        ]
    );
}

#[test]
fn targets_that_do_not_exist() {
    let module = device(|body| {
        let entry = body.add_block();
        Builder::new(body, entry).jump(Block::new(9), &[]);
    });
    assert_eq!(errors(&module), ["targets: there is no block9 | in function @f, block0: `br block9`"]);
}

#[test]
fn the_number_of_errors_is_bounded() {
    let module = device(|body| {
        let entry = body.add_block();
        let mut b = Builder::new(body, entry);
        for _ in 0..3 * MAX_ERRORS {
            b.op_imm(Op::Const, Type::I8, 256, &[]);
        }
        b.effect(Op::Ret, Type::B1, 0, &[]);
    });
    assert_eq!(errors(&module).len(), MAX_ERRORS);
}

#[test]
fn values_that_nothing_uses_need_no_definition() {
    let module = device(|body| {
        let entry = body.add_block();
        body.values.push(ValueData { ty: Type::I8, def: Def::None });
        body.make(Op::Const, Type::I32, [0; MAX_ATTRS], 1, &[], &[Type::I32], Span::default());
        Builder::new(body, entry).effect(Op::Ret, Type::B1, 0, &[]);
    });
    assert_eq!(errors(&module), [""; 0]);
}
