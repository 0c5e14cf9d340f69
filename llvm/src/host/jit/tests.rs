use super::super::{Features, Form, sys};
use super::*;
use crate::abi::Warp;
use crate::lower::Lowered;
use inkwell::context::Context;
use inkwell::memory_buffer::MemoryBuffer;

const LEVELS: [Features; 4] = [Features::Native, Features::Sse2, Features::Avx2, Features::Avx512];

fn options(features: Features) -> Options {
    Options { features, cache: None, cache_limit: 1 << 30 }
}

/// A compiler, unless this processor lacks the features.
fn jit(features: Features, symbols: &[(&'static str, usize)]) -> Option<Jit> {
    match Jit::new(options(features), symbols) {
        Ok(jit) => Some(jit),
        Err(CompileError::Host(message)) => {
            assert!(features != Features::Native && message.contains("needs"), "{message}");
            None
        }
        Err(other) => panic!("{other}"),
    }
}

fn parse<'c>(context: &'c Context, text: &str) -> Result<Lowered<'c>, CompileError> {
    let buffer = MemoryBuffer::create_from_memory_range_copy(text.as_bytes(), "test");
    let module = context.create_module_from_ir(buffer).map_err(|error| CompileError::Llvm(error.to_string()))?;
    Ok(Lowered { module, needs: Needs::default() })
}

fn object(jit: &Jit, text: &str) -> Result<(Entry, Times), CompileError> {
    pipeline::object(&jit.machine, |context, _| parse(context, text))
}

fn compile(jit: &Jit, text: &str) -> Result<Code, CompileError> {
    let (entry, times) = object(jit, text)?;
    jit.load(&entry, times)
}

/// Runs a kernel whose parameters are the addresses of 32 inputs and 32 outputs.
fn run(code: &Code, inputs: [f32; 32]) -> [f32; 32] {
    let mut outputs = [0.0; 32];
    let params = [inputs.as_ptr() as u64, outputs.as_mut_ptr() as u64];
    sys::tests::call(code.entry(), params.as_ptr().cast());
    outputs
}

fn inputs() -> [f32; 32] {
    std::array::from_fn(|i| i as f32 - 7.25)
}

/// A kernel around a computation from `%x` to `%y`, both `<32 x float>`.
fn kernel(body: &str) -> String {
    let params = std::mem::offset_of!(Warp, params);
    format!(
        "define void @hetgpu_kernel(ptr %warp) {{
  %at = getelementptr i8, ptr %warp, i64 {params}
  %params = load ptr, ptr %at
  %from = load ptr, ptr %params
  %next = getelementptr ptr, ptr %params, i64 1
  %to = load ptr, ptr %next
  %x = load <32 x float>, ptr %from, align 4
{body}
  store <32 x float> %y, ptr %to, align 4
  ret void
}}\n"
    )
}

#[test]
fn every_level_compiles_and_runs() {
    let text = kernel("  %z = fmul <32 x float> %x, splat (float 3.0)\n  %y = fadd <32 x float> %z, splat (float 0.5)");
    for features in LEVELS {
        let Some(jit) = jit(features, &[]) else { continue };
        let code = compile(&jit, &text).unwrap();
        assert_eq!(run(&code, inputs()), inputs().map(|x| x * 3.0 + 0.5), "{features:?}");
        let inside = code.entry() as *const () as usize;
        assert!(code.contains(inside) && !code.contains(run as *const () as usize));
        assert!(code.bytes() > 0 && !code.times().cached && code.times().emit_us > 0);
    }
}

#[test]
fn the_widest_registers_are_used() {
    let text = kernel("  %y = fmul <32 x float> %x, %x");
    for (features, register, wider) in
        [(Features::Sse2, "%xmm", "%ymm"), (Features::Avx2, "%ymm", "%zmm"), (Features::Avx512, "%zmm", "%tmm")]
    {
        let Some(jit) = jit(features, &[]) else { continue };
        let text = pipeline::text(&jit.machine, Stage::Assembly, |context, _| parse(context, &text)).unwrap();
        assert!(text.contains(register) && !text.contains(wider), "{features:?}: {text}");
    }
}

#[test]
fn a_level_that_is_missing_is_an_error_that_says_so() {
    let text = "+sse2,+avx2,-avx512f";
    let error = Machine::level_of(Features::Avx512, text).unwrap_err();
    let CompileError::Host(message) = error else { panic!("{error}") };
    assert!(message.contains("Avx512") && message.contains("avx512f") && !message.contains("avx2,"), "{message}");
}

#[test]
fn aarch64_objects_are_made_and_linked() {
    let text = kernel(
        "  %z = call <32 x float> @llvm.fma.v32f32(<32 x float> %x, <32 x float> splat (float 3.0), <32 x float> %x)
  %w = frem <32 x float> %z, splat (float 1.5)
  %y = shufflevector <32 x float> %w, <32 x float> %x, <32 x i32> <i32 0, i32 9, i32 2, i32 63, i32 4, i32 5, i32 6, i32 7,
    i32 8, i32 9, i32 10, i32 11, i32 12, i32 13, i32 14, i32 15, i32 16, i32 17, i32 18, i32 19, i32 20, i32 21, i32 22,
    i32 23, i32 24, i32 25, i32 26, i32 27, i32 28, i32 29, i32 30, i32 31>",
    ) + "declare <32 x float> @llvm.fma.v32f32(<32 x float>, <32 x float>, <32 x float>)\n";
    let machine = Machine::aarch64();
    let (entry, _) = pipeline::object(&machine, |context, _| parse(context, &text)).unwrap();
    let object = Object::parse(&entry.object).unwrap();
    assert_eq!(object.arch, machine.arch);
    let layout = Layout::new(&object, 1 << 16).unwrap();
    let mut image = vec![0; layout.size()];
    layout.write(&mut image, 0x7_0000_0000, |name| (name == "fmodf").then_some(0x1234_5678)).unwrap();
    assert!(layout.symbol(abi::ENTRY).is_some());
    let error = layout.write(&mut image, 0x7_0000_0000, |_| None).unwrap_err();
    assert_eq!(error, "unresolved symbol `fmodf`");
    let text = pipeline::text(&machine, Stage::Assembly, |context, _| parse(context, &text)).unwrap();
    assert!(text.contains("fmla") && text.contains(".4s"), "{text}");
}

extern "C" fn twice(_: *mut Warp, x: f32) -> f32 {
    x + x
}

#[test]
fn helpers_are_found_and_others_are_errors() {
    let body = "  %a = extractelement <32 x float> %x, i32 3
  %b = call float @hetgpu_twice(ptr %warp, float %a)
  %y = insertelement <32 x float> %x, float %b, i32 3";
    let text = kernel(body) + "declare float @hetgpu_twice(ptr, float)\n";
    let known = jit(Features::Native, &[("hetgpu_twice", twice as *const () as usize)]).unwrap();
    let mut expected = inputs();
    expected[3] *= 2.0;
    assert_eq!(run(&compile(&known, &text).unwrap(), inputs()), expected);

    let error = compile(&jit(Features::Native, &[]).unwrap(), &text).unwrap_err();
    assert_eq!(error, CompileError::Llvm("unresolved symbol `hetgpu_twice`".into()));
    // A name that the process has, and the table does not.
    let error = compile(&known, &text.replace("hetgpu_twice", "getenv")).unwrap_err();
    assert_eq!(error, CompileError::Llvm("unresolved symbol `getenv`".into()));
}

#[test]
fn the_address_of_a_helper() {
    let body = "  %equal = icmp eq ptr @hetgpu_twice, inttoptr (i64 ADDRESS to ptr)
  %y = select i1 %equal, <32 x float> %x, <32 x float> zeroinitializer";
    let address = twice as *const () as usize;
    let text = kernel(&body.replace("ADDRESS", &address.to_string())) + "declare float @hetgpu_twice(ptr, float)\n";
    let jit = jit(Features::Native, &[("hetgpu_twice", address)]).unwrap();
    assert_eq!(run(&compile(&jit, &text).unwrap(), inputs()), inputs());
}

#[test]
fn what_processors_lack_is_called() {
    type Case = (&'static str, fn(f32) -> f32);
    let cases: [Case; 5] = [
        ("  %y = frem <32 x float> %x, splat (float 3.0)", |x| x % 3.0),
        (
            "  %y = call <32 x float> @llvm.fma.v32f32(<32 x float> %x, <32 x float> %x, <32 x float> splat (float 0.125))",
            |x| x.mul_add(x, 0.125),
        ),
        ("  %y = call <32 x float> @llvm.floor.v32f32(<32 x float> %x)", f32::floor),
        // 11 bits of significand suffice for the quarters that come in.
        ("  %h = fptrunc <32 x float> %x to <32 x half>\n  %y = fpext <32 x half> %h to <32 x float>", |x| x),
        (
            "  %i = fptosi <32 x float> %x to <32 x i128>\n  %d = sdiv <32 x i128> %i, splat (i128 3)
  %q = sdiv <32 x i128> %d, %i1\n  %y = sitofp <32 x i128> %q to <32 x float>",
            |x| (x as i128 / 3 / 2) as f32,
        ),
    ];
    for features in LEVELS {
        let Some(jit) = jit(features, &[]) else { continue };
        for (body, expected) in cases {
            // An operand that the compiler does not know.
            let two = "  %c = fcmp oeq <32 x float> %x, splat (float 99.0)
  %i1 = select <32 x i1> %c, <32 x i128> splat (i128 1), <32 x i128> splat (i128 2)\n";
            let text = kernel(&format!("{two}{body}"))
                + "declare <32 x float> @llvm.floor.v32f32(<32 x float>)
declare <32 x float> @llvm.fma.v32f32(<32 x float>, <32 x float>, <32 x float>)\n";
            let code = compile(&jit, &text).unwrap();
            assert_eq!(run(&code, inputs()), inputs().map(expected), "{features:?}: {body}");
        }
    }
}

/// One call where the operation stands, not one for each lane.
#[test]
fn vector_operations_are_not_repeated() {
    let body = "  %a = call <32 x float> @llvm.sin.v32f32(<32 x float> %x)
  %y = call <32 x float> @llvm.sin.v32f32(<32 x float> %a)";
    let text = kernel(body) + "declare <32 x float> @llvm.sin.v32f32(<32 x float>)\n";
    let jit = jit(Features::Native, &[]).unwrap();
    assert_eq!(run(&compile(&jit, &text).unwrap(), inputs()), inputs().map(|x| x.sin().sin()));
    let text = pipeline::text(&jit.machine, Stage::Assembly, |context, _| parse(context, &text)).unwrap();
    assert_eq!(text.matches("sinf").count(), 32, "{text}");
}

#[test]
fn narrowing_rounds_to_nearest_even() {
    let text = kernel("  %h = fptrunc <32 x float> %x to <32 x half>\n  %y = fpext <32 x half> %h to <32 x float>");
    let mut x = [0.0f32; 32];
    // 2049 is halfway between 2048 and 2050, 2051 between 2050 and 2052.
    x[..4].copy_from_slice(&[2049.0, 2051.0, 1e6, -0.0]);
    for features in LEVELS {
        let Some(jit) = jit(features, &[]) else { continue };
        let y = run(&compile(&jit, &text).unwrap(), x);
        assert_eq!(y[..3], [2048.0, 2052.0, f32::INFINITY], "{features:?}");
        assert_eq!(y[3].to_bits(), (-0.0f32).to_bits());
    }
}

#[test]
fn wrong_code_is_an_error() {
    let jit = jit(Features::Native, &[]).unwrap();
    let is_llvm = |result: Result<Code, CompileError>| match result {
        Err(CompileError::Llvm(message)) => message,
        other => panic!("{other:?}"),
    };
    assert!(!is_llvm(compile(&jit, "define void @f( {")).is_empty());
    let message = is_llvm(compile(&jit, "define void @other() {\n  ret void\n}\n"));
    assert!(message.contains(abi::ENTRY), "{message}");
    // Parses, and is refused by the verifier: a value is used before it is there.
    let unordered = kernel("  %y = fadd <32 x float> %z, %x\n  %z = fadd <32 x float> %x, %x");
    let message =
        is_llvm(pipeline::object(&jit.machine, |context, _| broken(context)).and_then(|(e, t)| jit.load(&e, t)));
    assert!(message.contains("Terminator") || message.contains("terminator"), "{message}");
    assert!(!is_llvm(compile(&jit, &unordered)).is_empty());
    // LLVM finds out only while it emits.
    let message =
        is_llvm(compile(&jit, &kernel("  call void asm \"nonsense\", \"\"()\n  %y = fadd <32 x float> %x, %x")));
    assert!(!message.is_empty());
    // And goes on working afterwards.
    assert!(compile(&jit, &kernel("  %y = fadd <32 x float> %x, %x")).is_ok());
}

/// A function whose block does not end.
fn broken(context: &Context) -> Result<Lowered<'_>, CompileError> {
    let module = context.create_module("broken");
    let function = module.add_function(abi::ENTRY, context.void_type().fn_type(&[], false), None);
    context.append_basic_block(function, "entry");
    Ok(Lowered { module, needs: Needs::default() })
}

#[test]
fn a_panic_is_an_error() {
    let jit = jit(Features::Native, &[]).unwrap();
    let result = pipeline::object(&jit.machine, |_, _| panic!("on purpose"));
    assert!(matches!(result, Err(CompileError::Llvm(_))));
}

#[test]
fn variables_and_constants() {
    let body = "  %old = load i32, ptr @count
  %new = add i32 %old, 1
  store i32 %new, ptr @count
  %zero = load i32, ptr @zeros
  %sum = add i32 %new, %zero
  %slot = getelementptr [3 x i32], ptr @table, i32 0, i32 %sum
  %value = load i32, ptr %slot
  %pointer = load ptr, ptr @pointer
  %other = load i32, ptr %pointer
  %both = add i32 %value, %other
  %f = sitofp i32 %both to float
  %y = insertelement <32 x float> %x, float %f, i32 0";
    let text = kernel(body)
        + "@count = private global i32 0
@zeros = private global [100 x i32] zeroinitializer
@table = private constant [3 x i32] [i32 10, i32 20, i32 30]
@pointer = private global ptr getelementptr ([3 x i32], ptr @table, i32 0, i32 2)\n";
    for features in LEVELS {
        let Some(jit) = jit(features, &[]) else { continue };
        let code = compile(&jit, &text).unwrap();
        assert_eq!(run(&code, inputs())[0], 50.0);
        assert_eq!(run(&code, inputs())[0], 60.0);
        // Each piece of code has its own.
        assert_eq!(run(&compile(&jit, &text).unwrap(), inputs())[0], 50.0);
    }
}

#[test]
fn switches_and_calls_between_functions() {
    let body = "  %a = extractelement <32 x float> %x, i32 9
  %i = fptosi float %a to i32
  %b = call float @pick(i32 %i)
  %y = insertelement <32 x float> %x, float %b, i32 0";
    let cases: String = (0..12).map(|i| format!("    i32 {i}, label %l{i}\n")).collect();
    // Different work in each, so that no table of values is made of it.
    let labels: String = (0..12)
        .map(|i| format!("l{i}:\n  %v{i} = call float @leaf{}(float {i}.0)\n  ret float %v{i}\n", i % 3))
        .collect();
    let leaves = "define private float @leaf0(float %v) noinline {\n  %r = fadd float %v, 1.0\n  ret float %r\n}
define private float @leaf1(float %v) noinline {\n  %r = fmul float %v, 7.0\n  ret float %r\n}
define private float @leaf2(float %v) noinline {\n  %r = fdiv float %v, 4.0\n  ret float %r\n}\n";
    let text = kernel(body)
        + &format!(
            "define private float @pick(i32 %i) noinline {{\n  switch i32 %i, label %l0 [\n{cases}  ]\n{labels}}}\n{leaves}"
        );
    for features in LEVELS {
        let Some(jit) = jit(features, &[]) else { continue };
        let code = compile(&jit, &text).unwrap();
        for (a, expected) in [(0.0, 1.0), (3.0, 4.0), (4.0, 28.0), (10.0, 70.0), (11.0, 2.75), (77.0, 1.0)] {
            let mut x = inputs();
            x[9] = a;
            assert_eq!(run(&code, x)[0], expected, "{features:?} {a}");
        }
    }
}

#[test]
fn threads_compile_at_the_same_time() {
    let jit = jit(Features::Native, &[]).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let jit = &jit;
            scope.spawn(move || {
                for round in 0..4 {
                    let factor = (thread * 10 + round) as f32;
                    let text = kernel(&format!("  %y = fmul <32 x float> %x, splat (float {factor:.1})"));
                    assert_eq!(run(&compile(jit, &text).unwrap(), inputs()), inputs().map(|x| x * factor));
                }
            });
        }
    });
}

/// What `obtain` does with entries that are there, and those that look so.
#[test]
fn code_comes_from_the_cache() {
    let folder = hetgpu_cache::Temporary::new().unwrap();
    let options = Options { cache: Some(folder.path().to_path_buf()), ..options(Features::Native) };
    let text = kernel("  %y = fadd <32 x float> %x, %x");
    let obtain = |jit: &Jit| {
        let mut made = false;
        let make = || {
            made = true;
            object(jit, &text)
        };
        let code = jit.obtain(|| [7; 32], make).unwrap();
        assert_eq!(run(&code, inputs()), inputs().map(|x| x + x));
        assert_eq!(code.times().cached, !made);
        made
    };
    let first = Jit::new(options.clone(), &[]).unwrap();
    assert!(obtain(&first));
    assert!(!obtain(&first));
    assert!(!obtain(&Jit::new(options.clone(), &[]).unwrap()));

    // A sound file whose code cannot be loaded is made anew.
    let cache = Cache::open(folder.path(), 1 << 20).unwrap();
    cache.store(&[7; 32], &Entry { needs: Needs::default(), object: b"no object".to_vec() }.encode()).unwrap();
    assert!(obtain(&first));
    assert!(!obtain(&first));
    assert_eq!(first.cache_problem(), None);

    // A folder that cannot be one leaves everything working.
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let without = Jit::new(Options { cache: Some(file), ..options }, &[]).unwrap();
    assert!(without.cache_problem().is_some_and(|problem| problem.contains("not kept")));
    assert_eq!(without.cache_problem(), None);
    assert!(obtain(&without));
    assert!(obtain(&without));
}

#[test]
fn broken_objects_are_errors() {
    let jit = jit(Features::Native, &[]).unwrap();
    let (entry, times) = object(&jit, &kernel("  %y = frem <32 x float> %x, %x")).unwrap();
    assert!(jit.load(&entry, times).is_ok());
    for length in (0..entry.object.len()).step_by(7) {
        let cut = Entry { object: entry.object[..length].to_vec(), needs: entry.needs };
        assert!(jit.load(&cut, times).is_err(), "{length} bytes");
    }
    // Any byte may be wrong: what comes out is not run, but nothing else may happen.
    for at in 0..entry.object.len() {
        for bits in [1, 0x80, 0xff] {
            let mut changed = Entry { object: entry.object.clone(), needs: entry.needs };
            changed.object[at] ^= bits;
            drop(jit.load(&changed, times));
        }
    }
}

/// Whatever is lowered is sound, can be emitted for every processor, and needs no function that is not in the tables.
#[test]
fn random_programs_compile_for_every_processor() {
    let helpers: Vec<_> = abi::HELPERS.iter().map(|helper| (helper.name, 0x1000)).collect();
    let machines = LEVELS.iter().filter_map(|features| Some(jit(*features, &[])?.machine));
    let machines: Vec<Machine> = machines.chain([Machine::aarch64()]).collect();
    let known: HashMap<_, _> = runtime::functions().into_iter().chain(helpers).collect();
    let config = hetir::random::Config { statements: 6, ..Default::default() };
    let mut made = 0;
    for seed in 0..4 {
        let program = hetir::random::program(&mut hetir::random::Source::from_seed(seed), &config);
        for (machine, form) in machines.iter().flat_map(|m| [(m, Form::Warp), (m, Form::Lane)]) {
            let shape = Shape { block: program.block, form };
            let made_so = pipeline::object(machine, |context, machine| {
                lower::kernel(context, &program.module, program.kernel, &shape, machine)
            });
            let entry = match made_so {
                Ok((entry, _)) => entry,
                Err(CompileError::Unsupported(_)) => continue,
                Err(error) => panic!("seed {seed}, {machine:?}, {form:?}: {error}"),
            };
            let object = Object::parse(&entry.object).unwrap();
            let layout = Layout::new(&object, 1 << 16).unwrap();
            let mut image = vec![0; layout.size()];
            let result = layout.write(&mut image, 0x7000_0000_0000, |name| known.get(name).copied());
            assert_eq!(result, Ok(()), "seed {seed}, {machine:?}");
            made += 1;
        }
    }
    assert!(made >= 20, "{made}");
}

#[test]
fn less_is_done_for_what_is_huge() {
    let jit = jit(Features::Native, &[]).unwrap();
    let count = 160_000;
    let mut body =
        String::from("  %a = extractelement <32 x float> %x, i32 8\n  %s = alloca float\n  store float %a, ptr %s\n");
    for i in 0..count / 2 {
        body.push_str(&format!("  %v{i} = load volatile float, ptr %s\n  store volatile float %v{i}, ptr %s\n"));
    }
    body.push_str("  %e = load float, ptr %s\n  %y = insertelement <32 x float> %x, float %e, i32 0");
    let code = compile(&jit, &kernel(&body)).unwrap();
    assert_eq!(run(&code, inputs())[0], inputs()[8]);
}

/// A loop in which threads with a condition wait for a word, and what they do behind it.
fn poll(compared: &str, condition: &str, behind: &str) -> hetir::ir::Module {
    let text = format!(
        "kernel @poll(word: 8 align 8 at 0) {{
block0:
    v0: i64 = const 0
    v1: i64 = load.param v0
    v2: i32 = {compared}
    v3: i32 = const 0
    v4: b1 = {condition}
    brif v4, block1, block3
block1:
    br block2
block2:
    v5: i32 = load.global.acquire.gpu v1
    v6: b1 = icmp.ne.u v5, v2
    brif v6, block2, block3
block3:
    {behind}
    barrier.aligned v3, v3
    store.global v1 + 4, v3
    ret
}}
"
    );
    hetir::text::parse(&text).unwrap()
}

/// In each turn the first thread waits until the others have done something.
const AGAIN: &str = "kernel @again(word: 8 align 8 at 0) {
block0:
    v0: i64 = const 0
    v1: i64 = load.param v0
    v2: i32 = sreg.tid.x
    v3: i32 = const 0
    v4: b1 = icmp.eq.u v2, v3
    v5: i32 = const 1
    v6: i32 = const 10
    br block1(v3)
block1(v7: i32):
    brif v4, block2, block3
block2:
    v8: i32 = load.global.acquire.gpu v1
    v9: b1 = icmp.ne.u v8, v7
    brif v9, block2, block4
block3:
    store.global v1, v7
    br block4
block4:
    barrier.aligned v3, v3
    v10: i32 = iadd v7, v5
    v11: b1 = icmp.lt.u v10, v6
    brif v11, block1(v10), block5
block5:
    ret
}
";

#[test]
fn lanes_are_single_only_where_one_may_wait_for_another() {
    let machine = jit(Features::Native, &[]).unwrap().machine;
    let single = |module: &hetir::ir::Module, block| {
        let shape = Shape { block, form: Form::Warp };
        let context = Context::create();
        lower::kernel(&context, module, FuncId::new(0), &shape, &machine).unwrap().needs.lanes_wait
    };
    let (x, store) = ("sreg.tid.x", "store.global v1 + 8, v2");
    // One thread at most, whatever it does behind the loop.
    assert!(!single(&poll(x, "icmp.eq.u v2, v3", store), [64, 1, 1]));
    // Lanes that are in several rows have the same number.
    assert!(single(&poll(x, "icmp.eq.u v2, v3", store), [16, 4, 1]));
    assert!(single(&poll(x, "icmp.lt.u v2, v3", store), [64, 1, 1]));
    // Whoever leaves first waits at the barrier.
    assert!(!single(&poll(x, "icmp.lt.u v2, v3", ""), [64, 1, 1]));
    // Who does not wait does what the other waits for, also where all come to the loop again.
    assert!(single(&hetir::text::parse(AGAIN).unwrap(), [64, 1, 1]));
    // So it is in kernels that can be suspended, whose ways out nobody waits for.
    let suspendable = |module: &hetir::ir::Module| {
        hetir::passes::suspend::Plan::of(module, FuncId::new(0), [64, 1, 1]).unwrap().suspendable()
    };
    assert!(!single(&suspendable(&poll(x, "icmp.eq.u v2, v3", store)), [64, 1, 1]));
    assert!(!single(&suspendable(&poll(x, "icmp.eq.u v2, v3", store)), [64, 1, 1]));
    assert!(single(&suspendable(&poll(x, "icmp.lt.u v2, v3", store)), [64, 1, 1]));
}
