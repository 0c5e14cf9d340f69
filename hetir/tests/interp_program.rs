//! Launches of a program share what was made ready, and mean what launches alone mean.

use hetir::entity::FuncId;
use hetir::interp::{Arena, Launch, Options, Program, run};
use std::sync::Arc;

/// `@first` needs one shared variable, `@second` another one before it: `@place` gives different places to them. Both
/// add what the global variable holds.
const SOURCE: &str = "
global @g: 4 align 4
shared @x: 4 align 4
shared @y: 4 align 4
visible kernel @first(out: 8 align 8 at 0) {
block0:
    v0: i64 = const 0
    v1: i64 = load.param v0
    v2: i64 = call @place
    v3: i32 = const 7
    store.shared v2, v3
    v4: i32 = load.shared v2
    v5: i64 = global_addr @g
    v6: i32 = load.global v5
    v7: i32 = iadd v4, v6
    store.global v1, v7
    ret
}
visible kernel @second(out: 8 align 8 at 0) {
block0:
    v0: i64 = const 0
    v1: i64 = load.param v0
    v2: i64 = global_addr @x
    v3: i64 = call @place
    v4: i32 = const 1
    v5: i32 = const 2
    store.shared v2, v4
    store.shared v3, v5
    v6: i32 = load.shared v2
    v7: i64 = global_addr @g
    v8: i32 = load.global v7
    v9: i32 = iadd v6, v8
    store.global v1, v9
    ret
}
func @place() -> (i64) {
block0:
    v0: i64 = global_addr @y
    ret v0
}
";

const FIRST: FuncId = FuncId::new(0);
const SECOND: FuncId = FuncId::new(1);

/// Memory with two candidates for the global variable, 100 and 200, and an output.
struct Bench {
    memory: Arena,
    hundred: u64,
    two_hundred: u64,
    out: u64,
}

impl Bench {
    fn new() -> Self {
        let mut memory = Arena::new();
        let hundred = memory.alloc("hundred", 100u32.to_le_bytes().to_vec());
        let two_hundred = memory.alloc("two hundred", 200u32.to_le_bytes().to_vec());
        let out = memory.alloc("out", vec![0; 4]);
        Self { memory, hundred, two_hundred, out }
    }

    fn result(&mut self, launch: Launch<'_>) -> u32 {
        let launch = Launch { params: &self.out.to_le_bytes(), ..launch };
        run(&launch, &mut self.memory, &mut Options::default()).unwrap();
        u32::from_le_bytes(self.memory.region(self.out).unwrap().data[..].try_into().unwrap())
    }
}

fn program(global: u64) -> Program {
    let module = hetir::text::parse(SOURCE).unwrap();
    hetir::verify::verify(&module).unwrap();
    Program::new(Arc::new(module), vec![global, 0, 0])
}

#[test]
fn every_kernel_has_its_own_places_of_shared_variables() {
    let mut bench = Bench::new();
    let program = program(bench.hundred);
    for _ in 0..2 {
        assert_eq!(bench.result(program.launch(FIRST)), 107);
        assert_eq!(bench.result(program.launch(SECOND)), 101);
    }
}

#[test]
fn other_globals_are_not_the_programs() {
    let mut bench = Bench::new();
    let program = program(bench.hundred);
    assert_eq!(bench.result(program.launch(FIRST)), 107);
    let others = [bench.two_hundred, 0, 0];
    assert_eq!(bench.result(Launch { globals: &others, ..program.launch(FIRST) }), 207);
    let elsewhere = self::program(bench.two_hundred);
    assert_eq!(bench.result(Launch { program: Some(&program), ..elsewhere.launch(FIRST) }), 207);
    assert_eq!(bench.result(Launch { kernel: SECOND, ..program.launch(FIRST) }), 101);
}

#[test]
fn threads_share_a_program() {
    let places = Bench::new();
    let program = program(places.hundred);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut bench = Bench::new();
                assert_eq!(bench.hundred, places.hundred, "arenas place the same things alike");
                assert_eq!(bench.result(program.launch(FIRST)), 107);
                assert_eq!(bench.result(program.launch(SECOND)), 101);
            });
        }
    });
}

#[test]
fn a_launch_that_is_refused_leaves_the_program_usable() {
    let mut bench = Bench::new();
    let program = program(bench.hundred);
    let refused = Launch { block: [1025, 1, 1], params: &[0; 8], ..program.launch(FIRST) };
    assert!(run(&refused, &mut bench.memory, &mut Options::default()).is_err());
    let absent = Launch { params: &[0; 8], ..program.launch(FuncId::new(9)) };
    assert!(run(&absent, &mut bench.memory, &mut Options::default()).is_err());
    assert_eq!(bench.result(program.launch(FIRST)), 107);
}
