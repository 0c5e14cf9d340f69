//! Expansions mean what the ops mean: random operands, all attributes, by the ops' own definition.

mod common;

use common::{Random, edge_value};
use hetir::build::Builder;
use hetir::entity::{Inst, Value};
use hetir::eval::Pure;
use hetir::ir::{Body, Function, FunctionKind, InstData, MAX_ATTRS, Module};
use hetir::op::{Imm, Op, Pattern};
use hetir::passes::expand::{self, has_expansion};
use hetir::types::Type;
use hetir::verify::verify;
use std::collections::{BTreeSet, HashMap};

/// What expansions may be made of, on one lane, beside changes of type.
const BASE: [Op; 15] = [
    Op::Const,
    Op::IAdd,
    Op::ISub,
    Op::IMul,
    Op::And,
    Op::Or,
    Op::Xor,
    Op::Not,
    Op::Shl,
    Op::Shr,
    Op::ICmp,
    Op::Select,
    Op::Trunc,
    Op::Zext,
    Op::Sext,
];

fn is_base(inst: &InstData, _: Type) -> bool {
    matches!(inst.op, Op::Bitcast | Op::Pack | Op::Unpack) || (inst.ty.lanes == 1 && BASE.contains(&inst.op))
}

/// A function of one instruction, that hands back its results.
fn function_of(op: Op, ty: Type, attrs: [u8; MAX_ATTRS], imm: u64) -> Module {
    let info = op.info();
    let of = |p: &Pattern| match p {
        Pattern::Is(t) => *t,
        Pattern::Wide => ty.widened().unwrap_or(ty),
        _ => ty,
    };
    let (params, results): (Vec<Type>, Vec<Type>) =
        (info.args.iter().map(of).collect(), info.results.iter().map(of).collect());
    let mut body = Body::default();
    let entry = body.add_block();
    let args: Vec<Value> = params.iter().map(|t| body.add_param(entry, *t)).collect();
    let mut b = Builder::new(&mut body, entry);
    let controlling = if info.is_typed() { ty } else { Type::B1 };
    let inst = b.body.make(op, controlling, attrs, imm, &args, &results, Default::default());
    b.body.append(entry, inst);
    let values = b.body.results(inst).to_vec();
    b.effect(Op::Ret, Type::B1, 0, &values);
    let mut f = Function::new("f", FunctionKind::Device);
    f.signature.params = params;
    f.signature.results = results;
    f.body = Some(body);
    Module { functions: vec![f], ..Module::default() }
}

/// What a straight line of pure ops hands back.
fn evaluate(body: &Body, inputs: &[u128]) -> Vec<u128> {
    let mut values: HashMap<Value, u128> = body.blocks[0].params.iter().copied().zip(inputs.iter().copied()).collect();
    for &inst in &body.blocks[0].insts {
        let args: Vec<u128> = body.args(inst).iter().map(|v| values[v]).collect();
        if body.inst(inst).op == Op::Ret {
            return args;
        }
        let first = body.args(inst).first().map_or(body.inst(inst).ty, |v| body.ty(*v));
        let pure = Pure::of(body.inst(inst), first).expect("expansions are pure");
        let mut results = vec![0; body.results(inst).len()];
        pure.eval(&args, &mut results);
        values.extend(body.results(inst).iter().copied().zip(results));
    }
    panic!("no ret")
}

#[test]
fn every_expansion_computes_the_same() {
    let mut random = Random(1234);
    let mut covered = BTreeSet::new();
    for &op in Op::ALL {
        let info = op.info();
        for &ty in Type::ALL {
            let typed = info.is_typed() || ty == Type::B1;
            if !typed || !has_expansion(op, ty) || (info.is_typed() && !info.t.holds(ty)) {
                continue;
            }
            for round in 0..40 {
                let mut attrs = [0; MAX_ATTRS];
                for (byte, kind) in attrs.iter_mut().zip(info.attrs) {
                    *byte = random.below(kind.spellings().len()) as u8;
                }
                let imm = match (op, info.imm) {
                    (Op::Const, _) => random.next() & ty.mask(),
                    (_, Imm::Int) => random.next() & 0xff,
                    _ => 0,
                };
                let before = function_of(op, ty, attrs, imm);
                if verify(&before).is_err() {
                    continue;
                }
                let mut after = before.clone();
                assert!(expand::run(&mut after, &is_base), "{op:?} {ty}");
                verify(&after).unwrap_or_else(|e| panic!("{e:?}\n{after}"));
                let (b, a) = (before.functions[0].body.as_ref().unwrap(), after.functions[0].body.as_ref().unwrap());
                let rest = |i: &Inst| !is_base(a.inst(*i), Type::B1) && a.inst(*i).op != Op::Ret;
                // A float op of several lanes ends as one of single lanes.
                let left: Vec<Op> = a.blocks[0].insts.iter().filter(|i| rest(i)).map(|i| a.inst(*i).op).collect();
                assert!(left.iter().all(|o| *o == op && ty.lanes > 1), "{op:?} leaves {left:?}");
                covered.insert((op, ty.lanes > 1));
                for _ in 0..60 {
                    let inputs: Vec<u128> =
                        b.blocks[0].params.iter().map(|p| u128::from(edge_value(&mut random, b.ty(*p)))).collect();
                    let (want, have) = (evaluate(b, &inputs), evaluate(a, &inputs));
                    assert_eq!(have, want, "round {round}, inputs {inputs:x?} of\n{before}\nexpanded to\n{after}");
                }
            }
        }
    }
    let single: Vec<Op> = covered.iter().filter(|(_, many)| !many).map(|(op, _)| *op).collect();
    let expected = [
        Op::Bfe,
        Op::Bfi,
        Op::Bmsk,
        Op::Szext,
        Op::Fns,
        Op::Lop3,
        Op::Prmt,
        Op::Dp2a,
        Op::Dp4a,
        Op::Shf,
        Op::IMulWide,
        Op::IMulHi,
        Op::IAddC,
        Op::ISubB,
        Op::Popc,
        Op::Clz,
        Op::Brev,
        Op::Bfind,
        Op::FCopysign,
        Op::FTest,
    ];
    for op in expected {
        assert!(single.contains(&op), "{op:?} was not tried");
    }
    assert!(covered.iter().filter(|(_, many)| *many).count() > 15);
}

#[test]
fn what_the_device_has_stays() {
    let mut module = function_of(Op::Popc, Type::I32, [0; MAX_ATTRS], 0);
    let text = module.to_string();
    assert!(!expand::run(&mut module, &|inst: &InstData, first: Type| inst.op == Op::Popc && first == Type::I32));
    assert_eq!(module.to_string(), text);
}
