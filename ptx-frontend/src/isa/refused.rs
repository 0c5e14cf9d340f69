//! Instructions that are known and not lifted yet: rows that match them, so that the message can say so, and that a
//! module keeps its other functions.

use super::{Form, refused};

const GROUP: &str = "cta_group=cta_group::1 cta_group::2";
const KIND: &str = "kind=kind::f16 kind::tf32 kind::f8f6f4 kind::i8";
const SCALED: &str = "kind=kind::mxf8f6f4 kind::mxf4 kind::mxf4nvf4";
const SCALE_VECTOR: &str = "scale_vectorsize=scale_vec::1X scale_vec::2X scale_vec::4X block16 block32";
const COLLECTOR_A: &str =
    "collector_usage=collector::a::fill collector::a::use collector::a::lastuse collector::a::discard";
const COLLECTOR_B: &str = "collector_usage=collector::b0::fill collector::b0::use collector::b0::lastuse collector::b0::discard \
    collector::b1::fill collector::b1::use collector::b1::lastuse collector::b1::discard collector::b2::fill \
    collector::b2::use collector::b2::lastuse collector::b2::discard collector::b3::fill collector::b3::use \
    collector::b3::lastuse collector::b3::discard";
const NUM: &str = "num=x1 x2 x4 x8 x16 x32 x64 x128";
const TMEM_SHAPE: &str = "shape1=16x64b 16x128b 16x256b 32x32b";
const DIM: &str = "dim=1d 2d 3d 4d 5d";
const LOAD_MODE: &str = "load_mode=tile::gather4 im2col im2col::w im2col::w::128";
const HINT: &str = "level::cache_hint=L2::cache_hint";
const SCOPE: &str = "scope=cta cluster gpu sys";

pub(crate) const FORMS: &[Form] = &[
    refused(
        "cp.async.bulk.tensor.dim.dst.global.load_mode.mbarrier::complete_tx::bytes{.multicast::cluster}{.cta_group}{.level::cache_hint} [dst], [map, coordinates], [mbar]{, info}{, mask}{, policy}",
        &[DIM, "dst=shared::cta shared::cluster", LOAD_MODE, GROUP, HINT],
        "there are only tiles of tensors yet",
    ),
    refused(
        "cp.async.bulk.tensor.dim.dst.global{.tile}.mbarrier::complete_tx::bytes{.multicast::cluster}.cta_group{.level::cache_hint} [dst], [map, coordinates], [mbar]{, mask}{, policy}",
        &[DIM, "dst=shared::cta shared::cluster", GROUP, HINT],
        "it needs sm_100 or newer",
    ),
    refused(
        "cp.async.bulk.tensor.dim.global.shared::cta.load_mode.bulk_group{.level::cache_hint} [map, coordinates], [src]{, policy}",
        &[DIM, "load_mode=tile::scatter4 im2col_no_offs", HINT],
        "there are only tiles of tensors yet",
    ),
    refused(
        "cp.async.bulk.prefetch.tensor.dim.L2.global.load_mode{.level::cache_hint} [map, coordinates]{, info}{, policy}",
        &[DIM, LOAD_MODE, HINT],
        "there are only tiles of tensors yet",
    ),
    refused(
        "cp.reduce.async.bulk.tensor.dim.global.shared::cta.op.load_mode.bulk_group{.level::cache_hint} [map, coordinates], [src]{, policy}",
        &[DIM, "op=add min max inc dec and or xor", "load_mode=im2col_no_offs", HINT],
        "there are only tiles of tensors yet",
    ),
    refused(
        "multimem.ld_reduce{.ldsem}{.scope}{.global}.op.type d, [a]",
        &["ldsem=weak relaxed acquire", SCOPE, "op=min max add and or xor", "type=b32 b64 u32 u64 s32 s64"],
        "there is no multicast memory yet",
    ),
    refused(
        "multimem.ld_reduce{.ldsem}{.scope}{.global}.op{.acc_prec}{.vec}.type d, [a]",
        &[
            "ldsem=weak relaxed acquire",
            SCOPE,
            "op=min max add",
            "acc_prec=acc::f32 acc::f16",
            "vec=v2 v4 v8",
            "type=f16 f16x2 bf16 bf16x2 f32 f64 e5m2 e5m2x2 e5m2x4 e4m3 e4m3x2 e4m3x4",
        ],
        "there is no multicast memory yet",
    ),
    refused(
        "multimem.st{.stsem}{.scope}{.global}{.vec}.type [a], b",
        &[
            "stsem=weak relaxed release",
            SCOPE,
            "vec=v2 v4 v8",
            "type=b32 b64 u32 u64 s32 s64 f16 f16x2 bf16 bf16x2 f32 f64 e5m2 e5m2x2 e5m2x4 e4m3 e4m3x2 e4m3x4",
        ],
        "there is no multicast memory yet",
    ),
    refused(
        "multimem.red{.redsem}{.scope}{.global}.op.type [a], b",
        &["redsem=relaxed release", SCOPE, "op=min max add and or xor", "type=b32 b64 u32 u64 s32 s64"],
        "there is no multicast memory yet",
    ),
    refused(
        "multimem.red{.redsem}{.scope}{.global}.add{.vec}.type [a], b",
        &["redsem=relaxed release", SCOPE, "vec=v2 v4 v8", "type=f16 f16x2 bf16 bf16x2 f32 f64"],
        "there is no multicast memory yet",
    ),
    refused(
        "cp.async.bulk.global.shared::cta.bulk_group{.level::cache_hint}.cp_mask [dst], [src], size{, policy}, mask",
        &[HINT],
        "it needs sm_100 or newer",
    ),
    refused(
        "st.async{.mmio}.release.scope{.global}.type [a], b",
        &["scope=gpu sys", "type=b8 b16 b32 b64 u8 u16 u32 u64 s8 s16 s32 s64 f32 f64"],
        "it needs sm_100 or newer",
    ),
    refused(
        "red.async{.mmio}.release.scope{.global}.add.type [a], b",
        &["scope=gpu cluster", "type=u32 s32 u64 s64"],
        "it needs sm_100 or newer",
    ),
    refused("st.bulk{.weak}{.shared::cta} [a], size, value", &[], "it needs sm_100 or newer"),
    refused(
        "clusterlaunchcontrol.try_cancel.async{.shared::cta}.mbarrier::complete_tx::bytes{.multicast::cluster::all}.b128 [addr], [mbar]",
        &[],
        "it needs sm_100 or newer",
    ),
    refused("clusterlaunchcontrol.query_cancel.is_canceled.pred.b128 p, response", &[], "it needs sm_100 or newer"),
    refused(
        "clusterlaunchcontrol.query_cancel.get_first_ctaid.v4.b32.b128 d, response",
        &[],
        "it needs sm_100 or newer",
    ),
    refused(
        "clusterlaunchcontrol.query_cancel.dimension.b32.b128 d, response",
        &["dimension=get_first_ctaid::x get_first_ctaid::y get_first_ctaid::z"],
        "it needs sm_100 or newer",
    ),
    refused(
        "tcgen05.alloc.cta_group.sync.aligned{.shared::cta}.b32 [dst], columns",
        &[GROUP],
        "it needs sm_100 or newer",
    ),
    refused("tcgen05.dealloc.cta_group.sync.aligned.b32 taddr, columns", &[GROUP], "it needs sm_100 or newer"),
    refused("tcgen05.relinquish_alloc_permit.cta_group.sync.aligned", &[GROUP], "it needs sm_100 or newer"),
    refused(
        "tcgen05.commit.cta_group.mbarrier::arrive::one{.shared::cluster}{.multicast::cluster}.b64 [mbar]{, mask}",
        &[GROUP],
        "it needs sm_100 or newer",
    ),
    refused(
        "tcgen05.cp.cta_group.shape{.multicast}{.b8x16}{.format} [taddr], s",
        &[
            GROUP,
            "shape=128x256b 4x256b 128x128b 64x128b 32x128b",
            "multicast=warpx2::02_13 warpx2::01_23 warpx4",
            "format=b6x16_p32 b4x16_p64",
        ],
        "it needs sm_100 or newer",
    ),
    refused("tcgen05.order", &["order=fence::before_thread_sync fence::after_thread_sync"], "it needs sm_100 or newer"),
    refused(
        "tcgen05.ld.sync.aligned.shape1.num{.pack::16b}.b32 r, [taddr]",
        &[TMEM_SHAPE, NUM],
        "it needs sm_100 or newer",
    ),
    refused(
        "tcgen05.ld.sync.aligned.16x32bx2.num{.pack::16b}.b32 r, [taddr], half",
        &[NUM],
        "it needs sm_100 or newer",
    ),
    refused(
        "tcgen05.ld.red.sync.aligned.32x32b.num.op{.abs}{.NaN}.type r, value, [taddr]",
        &[NUM, "op=min max", "type=f32 u32 s32"],
        "it needs sm_100 or newer",
    ),
    refused(
        "tcgen05.ld.red.sync.aligned.16x32bx2.num.op{.abs}{.NaN}.type r, value, [taddr], half",
        &[NUM, "op=min max", "type=f32 u32 s32"],
        "it needs sm_100 or newer",
    ),
    refused(
        "tcgen05.st.sync.aligned.shape1.num{.unpack::16b}.b32 [taddr], r",
        &[TMEM_SHAPE, NUM],
        "it needs sm_100 or newer",
    ),
    refused(
        "tcgen05.st.sync.aligned.16x32bx2.num{.unpack::16b}.b32 [taddr], half, r",
        &[NUM],
        "it needs sm_100 or newer",
    ),
    refused("tcgen05.operation.sync.aligned", &["operation=wait::ld wait::st"], "it needs sm_100 or newer"),
    refused("tcgen05.shift.cta_group.down [taddr]", &[GROUP], "it needs sm_100 or newer"),
    refused(
        "tcgen05.mma.cta_group.kind{.ashift}{.collector_usage} [d], a, b, idesc{, lane}, enable{, scale}",
        &[GROUP, KIND, COLLECTOR_A],
        "it needs sm_100 or newer",
    ),
    refused(
        "tcgen05.mma.cta_group.kind.block_scale{.scale_vectorsize}{.collector_usage} [d], a, b, idesc, [scale_a], [scale_b], enable",
        &[GROUP, SCALED, SCALE_VECTOR, COLLECTOR_A],
        "it needs sm_100 or newer",
    ),
    refused(
        "tcgen05.mma.ws.cta_group::1.kind{.collector_usage} [d], a, b, idesc, enable{, mask}",
        &[KIND, COLLECTOR_B],
        "it needs sm_100 or newer",
    ),
    refused(
        "tcgen05.mma.cta_group.kind{.ashift}{.collector_usage} [d], [a], b, idesc{, lane}, enable{, scale}",
        &[GROUP, KIND, COLLECTOR_A],
        "it needs sm_100 or newer",
    ),
    refused(
        "tcgen05.mma.cta_group.kind.block_scale{.scale_vectorsize}{.collector_usage} [d], [a], b, idesc, [scale_a], [scale_b], enable",
        &[GROUP, SCALED, SCALE_VECTOR, COLLECTOR_A],
        "it needs sm_100 or newer",
    ),
    refused(
        "tcgen05.mma.ws.cta_group::1.kind{.collector_usage} [d], [a], b, idesc, enable{, mask}",
        &[KIND, COLLECTOR_B],
        "it needs sm_100 or newer",
    ),
    refused(
        "tcgen05.mma.sp.cta_group.kind{.ashift}{.collector_usage} [d], a, b, [meta], idesc{, lane}, enable{, scale}",
        &[GROUP, KIND, COLLECTOR_A],
        "it needs sm_100 or newer",
    ),
    refused(
        "tcgen05.mma.sp.cta_group.kind.block_scale{.scale_vectorsize}{.collector_usage} [d], a, b, [meta], idesc, [scale_a], [scale_b], enable",
        &[GROUP, SCALED, SCALE_VECTOR, COLLECTOR_A],
        "it needs sm_100 or newer",
    ),
    refused(
        "tcgen05.mma.ws.sp.cta_group::1.kind{.collector_usage} [d], a, b, [meta], idesc, enable{, mask}",
        &[KIND, COLLECTOR_B],
        "it needs sm_100 or newer",
    ),
    refused(
        "tcgen05.mma.sp.cta_group.kind{.ashift}{.collector_usage} [d], [a], b, [meta], idesc{, lane}, enable{, scale}",
        &[GROUP, KIND, COLLECTOR_A],
        "it needs sm_100 or newer",
    ),
    refused(
        "tcgen05.mma.sp.cta_group.kind.block_scale{.scale_vectorsize}{.collector_usage} [d], [a], b, [meta], idesc, [scale_a], [scale_b], enable",
        &[GROUP, SCALED, SCALE_VECTOR, COLLECTOR_A],
        "it needs sm_100 or newer",
    ),
    refused(
        "tcgen05.mma.ws.sp.cta_group::1.kind{.collector_usage} [d], [a], b, [meta], idesc, enable{, mask}",
        &[KIND, COLLECTOR_B],
        "it needs sm_100 or newer",
    ),
];

#[cfg(test)]
mod tests {
    use crate::lift::{Options, lift_text};

    const TEXT: &str = ".version 9.0\n.target sm_100a\n.address_size 64\n\
        .visible .entry waits()\n{\n.reg .pred %p;\nsetp.eq.u32 %p, 1, 1;\n@%p tcgen05.wait::ld.sync.aligned;\n\
        tcgen05.wait::st.sync.aligned;\nret;\n}\n\
        .visible .entry plain()\n{\nret;\n}\n";

    #[test]
    fn a_lenient_module_keeps_the_other_functions() {
        let output = lift_text(TEXT, Options { lenient: true });
        assert_eq!(output.diagnostics, []);
        let [waits, plain] = &output.module.functions[..] else { panic!("two kernels") };
        assert!(waits.body.is_none() && plain.body.is_some());
        let said: Vec<_> = waits.unavailable.iter().map(|d| (d.code, d.message.as_str())).collect();
        let reason = "it needs sm_100 or newer";
        assert_eq!(
            said,
            [
                ("ptx::unsupported", format!("`tcgen05.wait::ld.sync.aligned` is not supported: {reason}").as_str()),
                ("ptx::unsupported", format!("`tcgen05.wait::st.sync.aligned` is not supported: {reason}").as_str()),
            ]
        );
    }

    #[test]
    fn a_strict_module_has_the_errors() {
        let output = lift_text(TEXT, Options { lenient: false });
        assert_eq!(output.diagnostics.len(), 2);
        assert!(output.into_result().is_err());
    }
}
