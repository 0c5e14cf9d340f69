//! LLVM's builder without a distinction between numbers and vectors, which the same lowering makes both of.
//!
//! Handles carry the lifetime of their context. LLVM does not check operand types while it builds; every module goes
//! through LLVM's verifier before anything else is done with it.

use inkwell::context::{AsContextRef, Context};
use inkwell::llvm_sys::core::*;
use inkwell::llvm_sys::prelude::*;
use inkwell::llvm_sys::{LLVMAtomicOrdering, LLVMLinkage};
use inkwell::module::Module;
use std::ffi::CString;
use std::marker::PhantomData;

/// A value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Val<'c>(LLVMValueRef, PhantomData<&'c Context>);
/// A type.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ty<'c>(LLVMTypeRef, PhantomData<&'c Context>);
/// A basic block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blk<'c>(LLVMBasicBlockRef, PhantomData<&'c Context>);

/// Calls LLVM with handles that this module made.
macro_rules! llvm {
    ($call:expr) => {{
        // SAFETY: handles come from this module alone, so they are valid and belong to the context that their lifetime
        // names; the builder stands in a block wherever an instruction is made; lists are passed with their length.
        unsafe { $call }
    }};
}

/// A module under construction and the place in it where instructions are appended.
pub(crate) struct Emit<'c> {
    context: LLVMContextRef,
    module: LLVMModuleRef,
    builder: LLVMBuilderRef,
    life: PhantomData<&'c Context>,
}

impl Drop for Emit<'_> {
    fn drop(&mut self) {
        llvm!(LLVMDisposeBuilder(self.builder));
    }
}

/// What stacks are aligned to where a function begins, on every processor.
pub(crate) const STACK_ALIGNMENT: u32 = 16;

/// No name: LLVM numbers what has none.
const NO_NAME: *const std::ffi::c_char = c"".as_ptr();

fn text(s: &str) -> CString {
    CString::new(s.replace('\0', "?")).unwrap_or_default()
}

fn raw<'c>(values: &[Val<'c>]) -> Vec<LLVMValueRef> {
    values.iter().map(|v| v.0).collect()
}

impl<'c> Ty<'c> {
    pub(crate) fn vector(self, lanes: u32) -> Self {
        Self(llvm!(LLVMVectorType(self.0, lanes)), PhantomData)
    }
    pub(crate) fn array(self, count: u64) -> Self {
        Self(llvm!(LLVMArrayType2(self.0, count)), PhantomData)
    }
    pub(crate) fn undef(self) -> Val<'c> {
        Val(llvm!(LLVMGetUndef(self.0)), PhantomData)
    }
    pub(crate) fn zero(self) -> Val<'c> {
        Val(llvm!(LLVMConstNull(self.0)), PhantomData)
    }
    /// All bits set; of an integer type or a vector of one.
    pub(crate) fn ones(self) -> Val<'c> {
        Val(llvm!(LLVMConstAllOnes(self.0)), PhantomData)
    }
    /// A constant of an integer type.
    pub(crate) fn int(self, bits: u64) -> Val<'c> {
        Val(llvm!(LLVMConstInt(self.0, bits, 0)), PhantomData)
    }
    /// A constant of a floating-point type.
    pub(crate) fn real(self, value: f64) -> Val<'c> {
        Val(llvm!(LLVMConstReal(self.0, value)), PhantomData)
    }
    /// A constant of an array of this type.
    pub(crate) fn const_array(self, values: &[Val<'c>]) -> Val<'c> {
        let mut values = raw(values);
        Val(llvm!(LLVMConstArray2(self.0, values.as_mut_ptr(), values.len() as u64)), PhantomData)
    }
}

impl<'c> Val<'c> {
    pub(crate) fn ty(self) -> Ty<'c> {
        Ty(llvm!(LLVMTypeOf(self.0)), PhantomData)
    }
    /// A constant vector.
    pub(crate) fn const_vector(values: &[Self]) -> Self {
        let mut values = raw(values);
        Self(llvm!(LLVMConstVector(values.as_mut_ptr(), values.len() as u32)), PhantomData)
    }
    /// The value of a constant integer of at most 64 bits.
    pub(crate) fn constant(self) -> Option<u64> {
        let is = !llvm!(LLVMIsAConstantInt(self.0)).is_null();
        is.then(|| llvm!(LLVMConstIntGetZExtValue(self.0)))
    }
}

/// How integers are compared.
pub(crate) use inkwell::llvm_sys::LLVMIntPredicate as Int;
/// Two-operand instructions and casts.
pub(crate) use inkwell::llvm_sys::LLVMOpcode as Code;
/// How floats are compared.
pub(crate) use inkwell::llvm_sys::LLVMRealPredicate as Real;

impl<'c> Emit<'c> {
    pub(crate) fn new(context: &'c Context, module: &Module<'c>) -> Self {
        let context = context.as_ctx_ref();
        let builder = llvm!(LLVMCreateBuilderInContext(context));
        Self { context, module: module.as_mut_ptr(), builder, life: PhantomData }
    }

    fn val(&self, value: LLVMValueRef) -> Val<'c> {
        Val(value, PhantomData)
    }
    fn wrap(&self, ty: LLVMTypeRef) -> Ty<'c> {
        Ty(ty, PhantomData)
    }

    // Types.

    pub(crate) fn int_ty(&self, bits: u32) -> Ty<'c> {
        self.wrap(llvm!(LLVMIntTypeInContext(self.context, bits)))
    }
    pub(crate) fn half(&self) -> Ty<'c> {
        self.wrap(llvm!(LLVMHalfTypeInContext(self.context)))
    }
    pub(crate) fn float(&self) -> Ty<'c> {
        self.wrap(llvm!(LLVMFloatTypeInContext(self.context)))
    }
    pub(crate) fn double(&self) -> Ty<'c> {
        self.wrap(llvm!(LLVMDoubleTypeInContext(self.context)))
    }
    pub(crate) fn ptr(&self) -> Ty<'c> {
        self.wrap(llvm!(LLVMPointerTypeInContext(self.context, 0)))
    }
    pub(crate) fn void(&self) -> Ty<'c> {
        self.wrap(llvm!(LLVMVoidTypeInContext(self.context)))
    }
    pub(crate) fn structure(&self, parts: &[Ty<'c>]) -> Ty<'c> {
        let mut parts: Vec<_> = parts.iter().map(|t| t.0).collect();
        self.wrap(llvm!(LLVMStructTypeInContext(self.context, parts.as_mut_ptr(), parts.len() as u32, 0)))
    }
    pub(crate) fn function_ty(&self, params: &[Ty<'c>], result: Ty<'c>) -> Ty<'c> {
        let mut params: Vec<_> = params.iter().map(|t| t.0).collect();
        self.wrap(llvm!(LLVMFunctionType(result.0, params.as_mut_ptr(), params.len() as u32, 0)))
    }

    // Functions and blocks.

    /// The function of this name, declared if it is new.
    pub(crate) fn function(&self, name: &str, ty: Ty<'c>) -> Val<'c> {
        let name = text(name);
        let known = llvm!(LLVMGetNamedFunction(self.module, name.as_ptr()));
        self.val(if known.is_null() { llvm!(LLVMAddFunction(self.module, name.as_ptr(), ty.0)) } else { known })
    }
    /// Whether the function is more than declared.
    pub(crate) fn has_code(&self, function: Val<'c>) -> bool {
        llvm!(LLVMCountBasicBlocks(function.0)) != 0
    }
    /// Only this module calls the function.
    pub(crate) fn make_internal(&self, function: Val<'c>) {
        llvm!(LLVMSetLinkage(function.0, LLVMLinkage::LLVMInternalLinkage));
    }
    /// Gives a function an attribute that is a word, or a word and a text.
    pub(crate) fn attribute(&self, function: Val<'c>, key: &str, value: &str) {
        let make = || {
            llvm!(LLVMCreateStringAttribute(
                self.context,
                key.as_ptr().cast(),
                key.len() as u32,
                value.as_ptr().cast(),
                value.len() as u32
            ))
        };
        let kind = llvm!(LLVMGetEnumAttributeKindForName(key.as_ptr().cast(), key.len()));
        let attribute =
            if kind != 0 && value.is_empty() { llvm!(LLVMCreateEnumAttribute(self.context, kind, 0)) } else { make() };
        llvm!(LLVMAddAttributeAtIndex(function.0, inkwell::llvm_sys::LLVMAttributeFunctionIndex, attribute));
    }
    pub(crate) fn param(&self, function: Val<'c>, index: u32) -> Val<'c> {
        self.val(llvm!(LLVMGetParam(function.0, index)))
    }
    pub(crate) fn block(&self, function: Val<'c>, name: &str) -> Blk<'c> {
        let name = text(name);
        Blk(llvm!(LLVMAppendBasicBlockInContext(self.context, function.0, name.as_ptr())), PhantomData)
    }
    /// Goes on at the end of a block.
    pub(crate) fn at(&self, block: Blk<'c>) {
        llvm!(LLVMPositionBuilderAtEnd(self.builder, block.0));
    }
    /// The block that instructions go to.
    pub(crate) fn here(&self) -> Blk<'c> {
        Blk(llvm!(LLVMGetInsertBlock(self.builder)), PhantomData)
    }
    /// A private constant.
    pub(crate) fn constant_data(&self, value: Val<'c>, align: u32) -> Val<'c> {
        let global = llvm!(LLVMAddGlobal(self.module, LLVMTypeOf(value.0), NO_NAME));
        llvm!(LLVMSetInitializer(global, value.0));
        llvm!(LLVMSetGlobalConstant(global, 1));
        llvm!(LLVMSetLinkage(global, LLVMLinkage::LLVMPrivateLinkage));
        llvm!(LLVMSetAlignment(global, align));
        self.val(global)
    }

    // Control flow.

    pub(crate) fn br(&self, to: Blk<'c>) {
        llvm!(LLVMBuildBr(self.builder, to.0));
    }
    pub(crate) fn cond_br(&self, condition: Val<'c>, yes: Blk<'c>, no: Blk<'c>) {
        llvm!(LLVMBuildCondBr(self.builder, condition.0, yes.0, no.0));
    }
    /// Branch weights: the first target is the likely one.
    pub(crate) fn cond_br_likely(&self, condition: Val<'c>, yes: Blk<'c>, no: Blk<'c>) {
        let branch = llvm!(LLVMBuildCondBr(self.builder, condition.0, yes.0, no.0));
        let i32t = self.int_ty(32);
        let word = |v: Val<'c>| llvm!(LLVMValueAsMetadata(v.0));
        let name = "branch_weights";
        let mut parts = [
            llvm!(LLVMMDStringInContext2(self.context, name.as_ptr().cast(), name.len())),
            word(i32t.int(1 << 20)),
            word(i32t.int(1)),
        ];
        let node = llvm!(LLVMMDNodeInContext2(self.context, parts.as_mut_ptr(), parts.len()));
        let kind = llvm!(LLVMGetMDKindIDInContext(self.context, c"prof".as_ptr(), 4));
        llvm!(LLVMSetMetadata(branch, kind, LLVMMetadataAsValue(self.context, node)));
    }
    pub(crate) fn switch(&self, value: Val<'c>, otherwise: Blk<'c>, cases: &[(Val<'c>, Blk<'c>)]) {
        let switch = llvm!(LLVMBuildSwitch(self.builder, value.0, otherwise.0, cases.len() as u32));
        for (number, block) in cases {
            llvm!(LLVMAddCase(switch, number.0, block.0));
        }
    }
    pub(crate) fn ret(&self, value: Option<Val<'c>>) {
        match value {
            Some(value) => llvm!(LLVMBuildRet(self.builder, value.0)),
            None => llvm!(LLVMBuildRetVoid(self.builder)),
        };
    }
    pub(crate) fn unreachable(&self) {
        llvm!(LLVMBuildUnreachable(self.builder));
    }
    pub(crate) fn call(&self, ty: Ty<'c>, function: Val<'c>, args: &[Val<'c>]) -> Val<'c> {
        let mut args = raw(args);
        let count = args.len() as u32;
        self.val(llvm!(LLVMBuildCall2(self.builder, ty.0, function.0, args.as_mut_ptr(), count, NO_NAME)))
    }
    /// An intrinsic by its name and the types that it is overloaded by.
    pub(crate) fn intrinsic(&self, name: &str, overloads: &[Ty<'c>], args: &[Val<'c>]) -> Val<'c> {
        let (function, ty) = self.declared(name, overloads);
        self.call(ty, function, args)
    }
    fn declared(&self, name: &str, overloads: &[Ty<'c>]) -> (Val<'c>, Ty<'c>) {
        let id = llvm!(LLVMLookupIntrinsicID(name.as_ptr().cast(), name.len()));
        let mut types: Vec<_> = overloads.iter().map(|t| t.0).collect();
        let function = llvm!(LLVMGetIntrinsicDeclaration(self.module, id, types.as_mut_ptr(), types.len()));
        let ty = llvm!(LLVMIntrinsicGetType(self.context, id, types.as_mut_ptr(), types.len()));
        (self.val(function), self.wrap(ty))
    }
    /// An intrinsic by a function of its own, whose code stands once, however often it is called. Numbers that are constants
    /// are a part of it. The others go through `places` in memory: vectors as arguments would have the caller align its stack,
    /// for which it would need a register.
    pub(crate) fn out_of_line(
        &self,
        name: &str,
        overloads: &[Ty<'c>],
        args: &[Val<'c>],
        places: [Val<'c>; 3],
    ) -> Val<'c> {
        let (intrinsic, ty) = self.declared(name, overloads);
        let mut length = 0;
        let declared = llvm!(LLVMGetValueName2(intrinsic.0, &raw mut length));
        // SAFETY: the name of a value is so long, and stays while the value does.
        let declared = unsafe { std::slice::from_raw_parts(declared.cast::<u8>(), length) };
        let mut whole = format!("rare.{}", String::from_utf8_lossy(declared));
        let number = |v: Val<'c>| !llvm!(LLVMIsAConstantInt(v.0)).is_null();
        for arg in args.iter().filter(|arg| number(**arg)) {
            whole += &format!(".{}", llvm!(LLVMConstIntGetZExtValue(arg.0)));
        }
        let given: Vec<(Val<'c>, Val<'c>)> = args.iter().copied().filter(|arg| !number(*arg)).zip(places).collect();
        given.iter().for_each(|(arg, place)| self.store(*arg, *place, STACK_ALIGNMENT));
        let types = vec![self.ptr(); given.len()];
        let result = self.wrap(llvm!(LLVMGetReturnType(ty.0)));
        let own = self.function_ty(&types, result);
        let function = self.function(&whole, own);
        if !self.has_code(function) {
            self.make_internal(function);
            for word in ["noinline", "cold", "nounwind"] {
                self.attribute(function, word, "");
            }
            let here = self.here();
            self.at(self.block(function, "all"));
            let mut index = 0..;
            let mut param = |ty| self.load(ty, self.param(function, index.next().unwrap_or_default()), STACK_ALIGNMENT);
            let inside: Vec<Val<'c>> =
                args.iter().map(|arg| if number(*arg) { *arg } else { param(arg.ty()) }).collect();
            let value = self.call(ty, intrinsic, &inside);
            self.ret((result != self.void()).then_some(value));
            self.at(here);
        }
        self.call(own, function, &given.iter().map(|(_, place)| *place).collect::<Vec<_>>())
    }
    pub(crate) fn phi(&self, ty: Ty<'c>, incoming: &[(Val<'c>, Blk<'c>)]) -> Val<'c> {
        let phi = llvm!(LLVMBuildPhi(self.builder, ty.0, NO_NAME));
        let mut values: Vec<_> = incoming.iter().map(|(v, _)| v.0).collect();
        let mut blocks: Vec<_> = incoming.iter().map(|(_, b)| b.0).collect();
        llvm!(LLVMAddIncoming(phi, values.as_mut_ptr(), blocks.as_mut_ptr(), values.len() as u32));
        self.val(phi)
    }
    pub(crate) fn add_incoming(&self, phi: Val<'c>, value: Val<'c>, block: Blk<'c>) {
        let (mut value, mut block) = ([value.0], [block.0]);
        llvm!(LLVMAddIncoming(phi.0, value.as_mut_ptr(), block.as_mut_ptr(), 1));
    }

    // Computation.

    pub(crate) fn bin(&self, code: Code, a: Val<'c>, b: Val<'c>) -> Val<'c> {
        self.val(llvm!(LLVMBuildBinOp(self.builder, code, a.0, b.0, NO_NAME)))
    }
    pub(crate) fn cast(&self, code: Code, value: Val<'c>, to: Ty<'c>) -> Val<'c> {
        if value.ty() == to {
            return value;
        }
        self.val(llvm!(LLVMBuildCast(self.builder, code, value.0, to.0, NO_NAME)))
    }
    pub(crate) fn icmp(&self, how: Int, a: Val<'c>, b: Val<'c>) -> Val<'c> {
        self.val(llvm!(LLVMBuildICmp(self.builder, how, a.0, b.0, NO_NAME)))
    }
    pub(crate) fn fcmp(&self, how: Real, a: Val<'c>, b: Val<'c>) -> Val<'c> {
        self.val(llvm!(LLVMBuildFCmp(self.builder, how, a.0, b.0, NO_NAME)))
    }
    /// The value, or any one where it is poison.
    pub(crate) fn freeze(&self, value: Val<'c>) -> Val<'c> {
        self.val(llvm!(LLVMBuildFreeze(self.builder, value.0, NO_NAME)))
    }
    pub(crate) fn select(&self, condition: Val<'c>, yes: Val<'c>, no: Val<'c>) -> Val<'c> {
        self.val(llvm!(LLVMBuildSelect(self.builder, condition.0, yes.0, no.0, NO_NAME)))
    }
    pub(crate) fn shuffle(&self, a: Val<'c>, b: Val<'c>, mask: &[u32]) -> Val<'c> {
        let i32t = self.int_ty(32);
        let mask: Vec<_> = mask.iter().map(|&m| i32t.int(m.into())).collect();
        self.val(llvm!(LLVMBuildShuffleVector(self.builder, a.0, b.0, Val::const_vector(&mask).0, NO_NAME)))
    }
    pub(crate) fn extract(&self, vector: Val<'c>, index: Val<'c>) -> Val<'c> {
        self.val(llvm!(LLVMBuildExtractElement(self.builder, vector.0, index.0, NO_NAME)))
    }
    pub(crate) fn insert(&self, vector: Val<'c>, value: Val<'c>, index: Val<'c>) -> Val<'c> {
        self.val(llvm!(LLVMBuildInsertElement(self.builder, vector.0, value.0, index.0, NO_NAME)))
    }
    pub(crate) fn part(&self, structure: Val<'c>, index: u32) -> Val<'c> {
        self.val(llvm!(LLVMBuildExtractValue(self.builder, structure.0, index, NO_NAME)))
    }
    pub(crate) fn with_part(&self, structure: Val<'c>, value: Val<'c>, index: u32) -> Val<'c> {
        self.val(llvm!(LLVMBuildInsertValue(self.builder, structure.0, value.0, index, NO_NAME)))
    }

    // Memory.

    /// A variable of the function, in its entry block.
    pub(crate) fn alloca(&self, entry: Blk<'c>, ty: Ty<'c>) -> Val<'c> {
        let here = self.here();
        let first = llvm!(LLVMGetFirstInstruction(entry.0));
        if first.is_null() {
            self.at(entry);
        } else {
            llvm!(LLVMPositionBuilderBefore(self.builder, first));
        }
        let variable = llvm!(LLVMBuildAlloca(self.builder, ty.0, NO_NAME));
        self.at(here);
        self.val(variable)
    }
    /// The same for vectors that are also accessed by element, at a multiple of `align`.
    pub(crate) fn buffer(&self, entry: Blk<'c>, ty: Ty<'c>, align: u32) -> Val<'c> {
        let buffer = self.alloca(entry, ty);
        llvm!(LLVMSetAlignment(buffer.0, align));
        buffer
    }
    pub(crate) fn load(&self, ty: Ty<'c>, from: Val<'c>, align: u32) -> Val<'c> {
        let load = llvm!(LLVMBuildLoad2(self.builder, ty.0, from.0, NO_NAME));
        llvm!(LLVMSetAlignment(load, align));
        self.val(load)
    }
    /// A load of memory that never changes while the code runs.
    pub(crate) fn load_invariant(&self, ty: Ty<'c>, from: Val<'c>, align: u32) -> Val<'c> {
        let load = self.load(ty, from, align);
        let name = "invariant.load";
        let kind = llvm!(LLVMGetMDKindIDInContext(self.context, name.as_ptr().cast(), name.len() as u32));
        let node = llvm!(LLVMMDNodeInContext2(self.context, std::ptr::null_mut(), 0));
        llvm!(LLVMSetMetadata(load.0, kind, LLVMMetadataAsValue(self.context, node)));
        load
    }
    pub(crate) fn store(&self, value: Val<'c>, to: Val<'c>, align: u32) {
        let store = llvm!(LLVMBuildStore(self.builder, value.0, to.0));
        llvm!(LLVMSetAlignment(store, align));
    }
    /// Makes the last load or store a relaxed atomic one.
    pub(crate) fn load_atomic(&self, ty: Ty<'c>, from: Val<'c>, align: u32) -> Val<'c> {
        let load = self.load(ty, from, align);
        llvm!(LLVMSetOrdering(load.0, LLVMAtomicOrdering::LLVMAtomicOrderingMonotonic));
        load
    }
    /// Orders all accesses before it and behind it, also as other threads see them, or only as this one does.
    pub(crate) fn fence(&self, this_thread: bool) {
        let order = LLVMAtomicOrdering::LLVMAtomicOrderingSequentiallyConsistent;
        llvm!(LLVMBuildFence(self.builder, order, this_thread.into(), NO_NAME));
    }
    pub(crate) fn atomic(&self, op: Rmw, at: Val<'c>, operand: Val<'c>) -> Val<'c> {
        let order = LLVMAtomicOrdering::LLVMAtomicOrderingSequentiallyConsistent;
        self.val(llvm!(LLVMBuildAtomicRMW(self.builder, op, at.0, operand.0, order, 0)))
    }
    /// The old value.
    pub(crate) fn compare_exchange(&self, at: Val<'c>, expected: Val<'c>, new: Val<'c>) -> Val<'c> {
        let order = LLVMAtomicOrdering::LLVMAtomicOrderingSequentiallyConsistent;
        let pair = llvm!(LLVMBuildAtomicCmpXchg(self.builder, at.0, expected.0, new.0, order, order, 0));
        self.part(self.val(pair), 0)
    }
    /// The address `bytes` behind a pointer, or a vector of them.
    pub(crate) fn offset(&self, base: Val<'c>, bytes: Val<'c>) -> Val<'c> {
        let byte = self.int_ty(8);
        let mut index = [bytes.0];
        self.val(llvm!(LLVMBuildGEP2(self.builder, byte.0, base.0, index.as_mut_ptr(), 1, NO_NAME)))
    }
}

pub(crate) use inkwell::llvm_sys::LLVMAtomicRMWBinOp as Rmw;

impl<'c> Emit<'c> {
    /// An integer of 32 bits from one of 32 or 64.
    pub(crate) fn cast_bits(&self, v: Val<'c>, to: Ty<'c>) -> Val<'c> {
        self.cast(Code::LLVMTrunc, v, to)
    }
}
