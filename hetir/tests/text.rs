//! The text format: what is printed reads back as what it was.

mod common;

use common::{Random, assert_same};
use hetir::attr::{Attr, Space};
use hetir::build::Builder;
use hetir::diag::{Diagnostic, render};
use hetir::entity::{FuncId, GlobalId, Value};
use hetir::ir::{
    Body, Function, FunctionKind, Global, KernelParam, LaunchBounds, Linkage, MAX_ATTRS, Module, Opaque, Relocation,
    RelocationTarget, Signature, SlotData,
};
use hetir::op::{Imm, Op, Pattern};
use hetir::text;
use hetir::types::Type;

fn round_trip(module: &Module) {
    let printed = text::print(module);
    let read = match text::parse(&printed) {
        Ok(read) => read,
        Err(errors) => panic!("{}\n{printed}", render(&errors, "printed", &printed)),
    };
    assert_same(module, &read);
    assert_eq!(text::print(&read), printed);
}

fn errors(source: &str) -> String {
    match text::parse(source) {
        Ok(module) => panic!("accepted as:\n{module}"),
        Err(errors) => render(&errors, "t", source)
            .lines()
            .filter(|l| l.starts_with("t:"))
            .map(|l| l.trim_start_matches("t:").replace(" [text::syntax]", "").replace(" error:", ""))
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

/// What the printer writes is written here by hand.
const CANONICAL: &str = r#"sig0: (i32, f32) -> (i64)
sig1: ()
visible const @table: 40 align 4 {
    bytes "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
    bytes "2021"
    reloc 0: @"odd name" + 4 size 4
    reloc 8: @callee - 1 size 1 shift 8 generic
}
managed surface global @"odd name": 8 align 8 {
    field normalized "1"
    field "filter mode" "\"linear\""
}
extern shared @dynamic: 0 align 16

visible kernel @k(out: 8 align 8 at 0, "a b": 4 align 4 at 8 texture) max_threads(256, 1, 1) min_blocks 2 explicit_cluster {
    slot0: 16 align 4
    slot1: 0 align 1
block0:
    v0: i64 = const 0
    v1: i64 = load.param v0 + 8
    v2: i32 = sreg.tid.x
    v3: i32 = sreg.envreg 3
    v4: b1 = icmp.lt.u v2, v3
    v5: f32 = const 0x3f800000
    v6: i32 = const -2147483648
    v7: f32 = ffma.rz.ftz v5, v5, v5
    v8: i8x4 = const 0x00000080
    v9: i32, v10: b1 = shuffle.idx v2, v3, v6, v6
    v11: i64 = slot_addr slot1
    v12: i64 = global_addr @"odd name"
    v13: i64 = func_addr @callee
    v14: i32 = lop3 v2, v3, v6, 150
    store.global.relaxed.gpu v1 - 4, v7, v7
    v15: i64 = calli sig0, v13, v2, v7
    v16: f32 = call @callee, v2
    switch v2, [block1, block2(v5), block1]
block1:
    brif v4, block3, block2(v7)
block2(v17: f32):
    v18: i32 = atom.add.shared.relaxed.cta v12 + 4, v3
    br block1
block3:
    ret
}

func @callee(i32) -> (f32) unavailable "it uses \"wgmma\"" {
block0(v0: i32):
    v1: f32 = itof.s.rn v0
    ret v1
}

extern func @declared(i32x2)
"#;

#[test]
fn canonical_text_prints_as_it_was() {
    let module = text::parse(CANONICAL).unwrap_or_else(|e| panic!("{}", render(&e, "canonical", CANONICAL)));
    assert_eq!(text::print(&module), CANONICAL);
    round_trip(&module);
    let k = &module.functions[0];
    let body = k.body.as_ref().unwrap();
    assert_eq!(k.kernel_params()[1].opaque, Some(Opaque::Texture));
    assert_eq!(module.globals[0].init.len(), 34);
    assert_eq!(module.globals[0].relocations[1].target, RelocationTarget::Func(FuncId::new(1)));
    assert_eq!(module.globals[0].relocations[1].addend, -1);
    let of = |op| body.insts.iter().find(|i| i.op == op).unwrap();
    assert_eq!(of(Op::Store).ty, Type::F32);
    assert_eq!(of(Op::Store).imm as i64, -4);
    assert_eq!(of(Op::Br).ty, Type::B1);
    assert_eq!(of(Op::GlobalAddr).imm, 1);
    let minimum = body.insts.iter().find(|i| i.op == Op::Const && i.ty == Type::I32).unwrap();
    assert_eq!(minimum.imm, 0x8000_0000);
}

#[test]
fn text_may_be_loose_and_is_printed_tight() {
    let loose = "; remark\nfunc @f(i32)->(i32){ ; body\nblock7( v30 : i32 ,\n v1:f32 , ):\nv9: f32 = fadd.ftz.rn v1, v2\n\
                 v2: f32 = const 1065353216\n v4: i64=const -1 ; last\n ret\n v4\n}\r\n";
    assert_eq!(errors(loose), "9:4: expected `:`, found the end of the line");
    let tight = "func @f(i32) -> (i32) {\nblock0(v0: i32, v1: f32):\n    v2: f32 = fadd.rn.ftz v1, v3\n    \
                 v3: f32 = const 0x3f800000\n    v4: i64 = const -1\n    ret v4\n}\n";
    let module = text::parse(&loose.replace("ret\n", "ret")).unwrap();
    assert_eq!(text::print(&module), tight);
}

fn full_module() -> Module {
    let mut m = Module::default();
    m.signature(Signature { params: vec![Type::I128, Type::F16X4], results: vec![Type::B1, Type::BF16] });
    for (i, &space) in Space::ALL.iter().enumerate() {
        for (j, (linkage, _)) in Linkage::NAMES.into_iter().enumerate() {
            m.globals.push(Global {
                name: format!("g {i}\"{j}\\"),
                space,
                size: u64::MAX >> i,
                align: 1 << j,
                linkage,
                managed: i % 2 == 0,
                init: (0..=(i * 20) as u8).collect(),
                relocations: (0..j)
                    .map(|r| Relocation {
                        offset: u64::MAX - r as u64,
                        target: if r == 1 {
                            RelocationTarget::Func(FuncId::new(0))
                        } else {
                            RelocationTarget::Global(GlobalId::new(r * 3))
                        },
                        addend: [0, 1, i64::MIN, i64::MAX][r % 4],
                        size: r as u8,
                        shift: 255,
                        generic: r == 2,
                    })
                    .collect(),
                opaque: [None, Some(Opaque::Sampler), Some(Opaque::Surface), Some(Opaque::Texture)][j % 4],
                fields: (0..j).map(|n| (format!("f {n}"), "\"".repeat(n))).collect(),
                span: Default::default(),
            });
        }
    }
    let bounds = LaunchBounds {
        max_threads: [1, 2, 3],
        required_threads: [4, 5, 6],
        min_blocks: 7,
        max_registers: 8,
        required_cluster: [9, 10, 11],
        max_cluster: 12,
        explicit_cluster: true,
    };
    let param = |name: &str, opaque| KernelParam { name: name.into(), offset: 4, size: u32::MAX, align: 16, opaque };
    let params = vec![param("", None), param("v3", Some(Opaque::Surface)), param("größe\n", Some(Opaque::Sampler))];
    m.functions.push(Function::new("k.1$%_", FunctionKind::Kernel { params, bounds }));
    let mut f = Function::new("", FunctionKind::Device);
    f.linkage = Linkage::Weak;
    f.slots = vec![SlotData { size: u32::MAX, align: 1 }, SlotData { size: 0, align: 3 }];
    f.signature = m.signatures[0].clone();
    f.unavailable = vec![Diagnostic::error("a", "first \\"), Diagnostic::error("b", "")];
    f.body = Some(Body::default());
    m.functions.push(f);
    m
}

#[test]
fn every_part_of_a_module_is_kept() {
    round_trip(&full_module());
    round_trip(&Module::default());
}

/// Instructions of every op, with types that its row allows, every attribute in turn, and extreme immediates. They are
/// not all meaningful: the text format keeps them nevertheless.
#[test]
fn every_op_and_attribute_is_kept() {
    let mut random = Random(7);
    let mut m = full_module();
    for &op in Op::ALL {
        let info = op.info();
        let mut body = Body::default();
        let block = body.add_block();
        let values: Vec<Vec<Value>> =
            Type::ALL.iter().map(|&t| (0..3).map(|_| body.add_param(block, t)).collect()).collect();
        let builder = Builder::new(&mut body, block);
        let widest = info.attrs.iter().map(|k| k.spellings().len()).max().unwrap_or(1);
        for round in 0..widest.max(8) {
            let pick = |class: hetir::op::Class, random: &mut Random| loop {
                let t = Type::ALL[random.below(Type::ALL.len())];
                let wide = info.results.contains(&Pattern::Wide);
                if class.holds(t) && !(wide && t.widened().is_none()) {
                    break t;
                }
            };
            let (t, u) = (pick(info.t, &mut random), pick(info.u, &mut random));
            let mut types = |patterns: &[Pattern]| -> Vec<Type> {
                let mut out = Vec::new();
                for p in patterns {
                    match p {
                        Pattern::T => out.push(t),
                        Pattern::U => out.push(u),
                        Pattern::Wide => out.push(t.widened().unwrap()),
                        Pattern::Is(t) => out.push(*t),
                        Pattern::ManyT => out.extend(vec![t; 1 + random.below(4)]),
                        Pattern::ManyU => out.extend(vec![u; 1 + random.below(4)]),
                        Pattern::Rest => {
                            let n = random.below(3);
                            out.extend((0..n).map(|_| Type::ALL[random.below(Type::ALL.len())]));
                        }
                    }
                }
                out
            };
            let (args, results) = (types(&info.args), types(&info.results));
            let args: Vec<Value> =
                args.iter().map(|t| values[Type::ALL.iter().position(|u| u == t).unwrap()][round % 3]).collect();
            let mut attrs = [0; MAX_ATTRS];
            for (byte, kind) in attrs.iter_mut().zip(info.attrs) {
                *byte = (round % kind.spellings().len()) as u8;
            }
            let imm = match info.imm {
                Imm::None => 0,
                Imm::Int if op == Op::Const => random.next() & t.mask(),
                Imm::Int | Imm::Offset => [0, 1, u64::MAX, i64::MIN as u64, i64::MAX as u64][round % 5],
                Imm::Global | Imm::Func => (round % 2) as u64,
                Imm::Slot | Imm::Sig => [0, 77][round % 2],
            };
            let ty = if info.is_typed() { t } else { Type::B1 };
            let inst = builder.body.make(op, ty, attrs, imm, &args, &results, Default::default());
            builder.body.append(block, inst);
            if op.is_terminator() {
                let targets = vec![(block, args.as_slice()); round % 4];
                builder.body.set_targets(inst, &targets);
            }
        }
        let mut f = Function::new(format!("f{}", m.functions.len()), FunctionKind::Device);
        f.body = Some(body);
        m.functions.push(f);
    }
    round_trip(&m);
    assert!(text::print(&m).contains("sreg.clusterid.x"));
}

#[test]
fn a_function_alone_prints_handles_that_read_back() {
    let module = text::parse(CANONICAL).unwrap();
    let alone = module.functions[0].to_string();
    assert!(alone.contains("global_addr global1") && alone.contains("call func1, v2"), "{alone}");
    let start = CANONICAL.find("visible kernel").unwrap();
    let whole = format!("{}{alone}\n{}", &CANONICAL[..start], &CANONICAL[CANONICAL.find("func @callee").unwrap()..]);
    assert_same(&text::parse(&whole).unwrap(), &module);
}

#[test]
fn invalid_modules_print_too() {
    let mut body = Body::default();
    let block = body.add_block();
    let lost = body.add_value(Type::F16, hetir::ir::Def::None);
    let mut attrs = [0; MAX_ATTRS];
    attrs[0] = 200;
    let inst = body.make(Op::FAdd, Type::F32, attrs, 0, &[lost, Value::new(99)], &[Type::F32], Default::default());
    body.append(block, inst);
    let inst = body.make(Op::Call, Type::B1, attrs, u64::MAX, &[], &[], Default::default());
    body.append(block, inst);
    let mut f = Function::new("f", FunctionKind::Device);
    f.body = Some(body);
    let expected = "block0:\n    v0: f32 = fadd.?200 v1, v99\n    call func18446744073709551615\n}\n";
    assert!(f.to_string().ends_with(expected), "{f}");
}

#[test]
fn errors_name_their_place() {
    let cases = [
        ("kernel @k() max_treads(1, 2, 3)", "1:13: there is no launch bound `max_treads`"),
        ("kernel @k() max_threads(1, 2)", "1:24: expected three dimensions"),
        ("sig1: ()", "1:1: signatures are numbered in order: expected sig0"),
        ("managed func @f()", "1:1: only a variable is managed or an opaque reference"),
        ("hello", "1:1: expected a signature, variable or function, found `hello`"),
        ("func @f(i31)", "1:9: there is no type `i31`"),
        ("func @f(i32", "1:12: expected `)`, found the end of the text"),
        ("global @g: 4294967296 align 4294967296", "1:29: 4294967296 is too large for an alignment"),
        ("global @g: 4 align 4 {\nbytes \"0\"\n}", "2:7: expected two hexadecimal digits a byte"),
        ("global @g: 4 align 4 {\nreloc 0: @h size 4\n}", "2:10: there is no variable or function @h"),
        ("func @f() {\nret\n}", "2:1: expected a block, found `ret`"),
        ("func @f() {\nblock0:\nslot0: 4 align 4\n}", "3:1: slots stand before the first block"),
        ("func @f() {\nslot1: 4 align 4\n}", "2:1: slots are numbered in order: expected slot0"),
        ("func @f() {\nblock0:\nblock0:\n}", "3:1: block0 is defined twice"),
        ("func @f() {\nblock0:\nbr block1\n}", "3:4: there is no block1"),
        ("func @f() {\nblock0:\nret v1\n}", "3:5: v1 is not defined"),
        ("func @f() {\nblock0:\nv1: i32 = const 1\nv1: i32 = const 1\n}", "4:1: v1 is defined twice"),
        ("func @f() {\nblock0:\nv1: i32 = cnst 1\n}", "3:11: there is no op `cnst`"),
        ("func @f() {\nblock0:\nv1: i32 = const\n}", "3:11: const needs a number"),
        ("func @f() {\nblock0:\nv1: i32 = const 1, 2\n}", "3:20: const has one immediate"),
        ("func @f() {\nblock0:\nv1: i32 = iadd v1, 2\n}", "3:20: expected an operand, found `2`"),
        ("func @f() {\nblock0:\nv1: i32 = iadd.foo v1, v1\n}", "3:11: iadd has no attribute `foo`"),
        ("func @f() {\nblock0:\nv1: i32 = iadd.sat.sat v1, v1\n}", "3:11: `sat` contradicts an attribute before it"),
        ("func @f() {\nblock0:\nv1: i32 = imin v1, v1\n}", "3:11: imin needs one of the attributes u, s"),
        ("func @f() {\nblock0:\ncall @f @f\n}", "3:9: expected the end of the line, found `@`"),
        ("func @f() {\nblock0:\ncall @g\n}", "3:6: there is no function @g"),
        ("func @f() {\nblock0:\nv0: i64 = global_addr @f\n}", "3:23: expected a variable"),
        ("func @f() {\nblock0:\nv0: i64 = global_addr func0\n}", "3:23: expected a variable"),
        ("func @f() {\nblock0:\nret\n", "4:1: expected `}`, found the end of the text"),
        ("func @\"a\\q\"()", "1:7: a string with an escape that means nothing"),
        (
            "func @f() {\nblock0:\nv1: i64 = load.global v0 + 99999999999999999999\n}",
            "3:28: a number of more than 64 bits",
        ),
        (
            "func @f() {\nblock0:\nv1: i64 = load.global v0 - 9223372036854775809\n}",
            "3:28: an offset of more than 64 bits",
        ),
    ];
    for (source, expected) in cases {
        assert_eq!(errors(source), expected, "{source}");
    }
}

#[test]
fn several_errors_are_collected_and_bodies_of_bad_items_are_skipped() {
    let source =
        "func @f(i31) {\nblock0:\n nonsense\n}\nfunc @g() {\nblock0:\n frob\n ret\nblock1:\n v0: i8 = \n}\nzzz\n";
    let expected = "1:9: there is no type `i31`\n7:2: there is no op `frob`\n10:11: expected an op, found the end of the line\n\
                    12:1: expected a signature, variable or function, found `zzz`";
    assert_eq!(errors(source), expected);
    assert_eq!(errors(&"zzz\n".repeat(1000)).lines().count(), text::MAX_ERRORS);
}

#[test]
fn hostile_text_is_refused_in_bounded_time() {
    for hostile in ["(", "[", "{", "func @f(", "v0, ", "@", "\"", "func @f() {\n", "-", "0x", "\u{0}"] {
        assert!(text::parse(&hostile.repeat(100_000)).is_err(), "{hostile}");
    }
    let numbers = "func @f() {\nblock4294967295:\n v4294967295: i32 = const 4294967295\n br block4294967295\n}\n";
    assert!(text::parse(numbers).is_ok());
    assert!(text::parse(&numbers.replace("v4294967295", "v4294967296")).is_err());
}

#[test]
fn mutated_text_never_panics() {
    let mut random = Random(99);
    let words: Vec<&str> = CANONICAL.split_inclusive([' ', '\n', '(', ',']).collect();
    for _ in 0..3000 {
        let mut words = words.clone();
        for _ in 0..1 + random.below(4) {
            let (a, b) = (random.below(words.len()), random.below(words.len()));
            match random.below(3) {
                0 => words.swap(a, b),
                1 => words[a] = words[b],
                _ => drop(words.remove(a)),
            }
        }
        let source = words.concat();
        if let Ok(module) = text::parse(&source) {
            round_trip(&module);
        }
    }
}

#[test]
fn attributes_have_the_bytes_that_the_builder_gives() {
    let module = text::parse("func @f(f32) {\nblock0(v0: f32):\nv1: f32 = fadd.rp v0, v0\nret\n}").unwrap();
    let body = module.functions[0].body.as_ref().unwrap();
    assert_eq!(body.insts[0].attr::<hetir::attr::Round>(), hetir::attr::Round::Rp);
    assert_eq!(hetir::attr::Round::from_byte(body.insts[0].attrs[0]), hetir::attr::Round::Rp);
}
