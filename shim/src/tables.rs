//! The private tables that the CUDA runtime library asks for with `cuGetExportTable`. Of each table only what is known to
//! be called is served; the other slots answer "not supported" and say so. Every other UUID is unknown.

use crate::abi::{
    Address, Cu, CuContext, CuModule, CuStream, Flavour, In, Out, Pointer, Slot, Table, enter, not_supported,
};
use crate::calls::{context, device, module, stream};
#[cfg(feature = "integrity")]
use crate::integrity;
use crate::result::{Code, Outcome};
use hetgpu_runtime::Local;
use std::ffi::c_void;

macro_rules! slot {
    ($function:expr) => {
        Slot { function: $function as *const () }
    };
}

/// A slot whose function nobody is known to call.
macro_rules! unused {
    ($name:expr) => {{
        extern "C" fn unused() -> Code {
            not_supported($name)
        }
        slot!(unused)
    }};
}

/// The table of that UUID.
pub(crate) fn find(id: [u8; 16]) -> Option<Address> {
    const RUNTIME: [u8; 16] = 0x6BD5FB6C_5BF4_E74A_8987_D93912FD9DF9_u128.to_be_bytes();
    const HOOKS: [u8; 16] = 0xA094798C_2E74_2E74_93F2_0800200C0A66_u128.to_be_bytes();
    const TLS: [u8; 16] = 0x42D85A81_23F6_CB47_8298_F6E78A3AECDC_u128.to_be_bytes();
    const LOCALS: [u8; 16] = 0xC693336E_1121_DF11_A8C3_68F355D89593_u128.to_be_bytes();
    #[cfg(feature = "integrity")]
    const INTEGRITY: [u8; 16] = 0xD4082055_BDE6_704B_8D34_BA123C66E1F2_u128.to_be_bytes();
    const CONTEXTS: [u8; 16] = 0x21318C60_9714_3248_8CA6_41FF7324C8F2_u128.to_be_bytes();
    const PRODUCTS: [u8; 16] = 0x1734DC26_800D_4745_8726_C0F1E7DD8BCA_u128.to_be_bytes();
    const CHECKS: [u8; 16] = 0x263E8860_7CD2_6143_92F6_BBD5006DFA7E_u128.to_be_bytes();
    Some(match id {
        RUNTIME => RUNTIME_TABLE.address(),
        HOOKS => HOOKS_TABLE.address(),
        TLS => TLS_TABLE.address(),
        LOCALS => LOCALS_TABLE.address(),
        #[cfg(feature = "integrity")]
        INTEGRITY => integrity::TABLE.address(),
        CHECKS => CHECKS_TABLE.address(),
        CONTEXTS => CONTEXTS_TABLE.address(),
        PRODUCTS => PRODUCTS_TABLE.address(),
        _ => return None,
    })
}

// How the runtime library loads modules and learns of the primary context.

pub(crate) static RUNTIME_TABLE: Table<13> = Table([
    Table::<13>::BYTES,
    slot!(load_wrapper),
    slot!(primary_handle),
    unused!("runtime interface 3"),
    unused!("runtime interface 4"),
    unused!("runtime interface 5"),
    slot!(load_wrapper_with),
    slot!(unload_notice),
    slot!(load_fatbin),
    unused!("runtime interface 9"),
    unused!("runtime interface 10"),
    unused!("runtime interface 11"),
    slot!(load_compilers),
]);

/// Hands the handle out without retaining or activating the context.
extern "C" fn primary_handle(context: Out<CuContext>, device: i32) -> Code {
    let show = |_| format!("{context:?}, {device}");
    enter("runtime interface 2", Flavour::Legacy, &show, |call| {
        context.set(Cu::new(call.runtime()?.primary_context(device::index(device)?)?))
    })
}

extern "C" fn load_wrapper(module: Out<CuModule>, wrapper: Pointer) -> Code {
    let show = |_| format!("{module:?}, {wrapper:?}");
    enter("runtime interface 1", Flavour::Legacy, &show, |call| module::load_data(call, module, wrapper))
}

/// The rest of the arguments is 0.
extern "C" fn load_wrapper_with(module: Out<CuModule>, wrapper: Pointer, _a: usize, _b: usize, _c: usize) -> Code {
    let show = |_| format!("{module:?}, {wrapper:?}");
    enter("runtime interface 6", Flavour::Legacy, &show, |call| module::load_data(call, module, wrapper))
}

extern "C" fn unload_notice(_wrapper: Pointer) -> Code {
    Code::SUCCESS
}

/// The rest of the arguments is 0.
extern "C" fn load_fatbin(fatbin: Pointer, module: Out<CuModule>, _a: usize, _b: usize, _c: usize) -> Code {
    let show = |_| format!("{fatbin:?}, {module:?}");
    enter("runtime interface 8", Flavour::Legacy, &show, |call| module::load_data(call, module, fatbin))
}

extern "C" fn load_compilers() -> Code {
    Code::SUCCESS
}

// Callbacks of profilers: flags, all off.

static HOOKS_TABLE: Table<7> = Table([
    Table::<7>::BYTES,
    unused!("tool hooks 1"),
    slot!(runtime_hooks),
    unused!("tool hooks 3"),
    unused!("tool hooks 4"),
    unused!("tool hooks 5"),
    slot!(driver_hooks),
]);

static RUNTIME_HOOKS: [u32; 1024] = [0; 1024];
static DRIVER_HOOKS: [u32; 14] = [0; 14];

extern "C" fn runtime_hooks(flags: Out<Address>, count: Out<usize>) {
    flags.set_if_wanted(Address(RUNTIME_HOOKS.as_ptr().cast()));
    count.set_if_wanted(RUNTIME_HOOKS.len());
}

extern "C" fn driver_hooks(flags: Out<Address>, count: Out<usize>) {
    flags.set_if_wanted(Address(DRIVER_HOOKS.as_ptr().cast()));
    count.set_if_wanted(DRIVER_HOOKS.len());
}

static TLS_TABLE: Table<4> =
    Table([Table::<4>::BYTES, unused!("tool storage 1"), slot!(current_context), unused!("tool storage 3")]);

extern "C" fn current_context(context: Out<CuContext>) -> Code {
    let show = |_| format!("{context:?}");
    enter("tool storage 2", Flavour::Legacy, &show, |call| context::current(call, context))
}

// What newer runtime libraries and cuBLASLt ask about contexts.

/// The drivers' tables have more slots; none of them is known to be called.
const SLOTS: usize = 64;

/// A table with one function for each slot, so that it is said which one is wanted.
macro_rules! unused_table {
    ($name:literal) => {
        unused_table!($name:
            0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
            32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63
        )
    };
    ($name:literal: $($number:literal)*) => {{
        let mut slots = [$(unused!(concat!($name, " ", $number))),*];
        slots[0] = Table::<SLOTS>::BYTES;
        slots
    }};
}

static CONTEXTS_TABLE: Table<SLOTS> = Table({
    let mut slots = unused_table!("context interface");
    slots[4] = slot!(context_id);
    slots[39] = slot!(stream_id);
    slots[51] = slot!(inner_stream);
    slots
});

/// cuBLASLt wants it for products in bfloat16, and does not look whether there is one.
static PRODUCTS_TABLE: Table<SLOTS> = Table(unused_table!("product interface"));

/// What the driver calls a stream among its own: here a number that tells it from others.
extern "C" fn inner_stream(context: CuContext, stream: CuStream, inner: Out<u64>, per_thread: i32) -> Code {
    let show = |_| format!("{context:?}, {stream:?}, {inner:?}, {per_thread}");
    let flavour = if per_thread == 0 { Flavour::Legacy } else { Flavour::PerThread };
    enter("context interface 51", flavour, &show, |call| {
        context::session_of(call, context)?;
        stream::id(call, stream, inner)
    })
}

extern "C" fn stream_id(context: CuContext, inner: u64, id: Out<u64>) -> Code {
    let show = |_| format!("{context:?}, {inner:#x}, {id:?}");
    enter("context interface 39", Flavour::Legacy, &show, |call| {
        context::session_of(call, context)?;
        id.set(inner)
    })
}

extern "C" fn context_id(context: CuContext, id: Out<u64>) -> Code {
    let show = |_| format!("{context:?}, {id:?}");
    enter("context interface 4", Flavour::Legacy, &show, |call| context::id(call, context, id))
}

// What the runtime library keeps with a context.

static LOCALS_TABLE: Table<4> =
    Table([slot!(put_local), slot!(delete_local), slot!(get_local), unused!("context storage 3")]);

type LocalDestructor = Option<extern "C" fn(CuContext, Pointer, Pointer)>;

extern "C" fn put_local(context: CuContext, key: Pointer, value: Pointer, destructor: LocalDestructor) -> Code {
    let show = |_| format!("{context:?}, {key:?}, {value:?}, {:?}", destructor.map(|f| f as *const c_void));
    enter("context storage put", Flavour::Legacy, &show, |call| {
        let (handle, session) = context::session_of(call, context)?;
        let drop = destructor.map(|destructor| {
            Box::new(move |value| destructor(Cu::new(handle), key, Pointer(value))) as Box<dyn FnOnce(u64) + Send>
        });
        session.put_local(key.0, Local { value: value.0, drop });
        Ok(())
    })
}

extern "C" fn delete_local(context: CuContext, key: Pointer) -> Code {
    let show = |_| format!("{context:?}, {key:?}");
    enter("context storage delete", Flavour::Legacy, &show, |call| {
        let (_, session) = context::session_of(call, context)?;
        session.remove_local(key.0).map(drop).ok_or(Code::ERROR_INVALID_HANDLE.into())
    })
}

extern "C" fn get_local(value: Out<Pointer>, context: CuContext, key: Pointer) -> Code {
    let show = |_| format!("{value:?}, {context:?}, {key:?}");
    let get = |call: &_| -> Outcome {
        let (_, session) = context::session_of(call, context)?;
        value.set(Pointer(session.local(key.0).ok_or(Code::ERROR_INVALID_HANDLE)?))
    };
    enter("context storage get", Flavour::Legacy, &show, get)
}

static CHECKS_TABLE: Table<4> =
    Table([Table::<4>::BYTES, unused!("context checks 1"), slot!(check_context), slot!(check_process)]);

extern "C" fn check_context(_context: CuContext, result: Out<u32>, _rest: In<u8>) -> Code {
    result.set_if_wanted(0);
    Code::SUCCESS
}

extern "C" fn check_process() -> u32 {
    0
}
