//! Asynchronous copies: when they happen, by seed.

use hetir::diag::render;
use hetir::entity::FuncId;
use hetir::interp::{Arena, Checks, Fault, FaultKind, Launch, Options, place_globals, run};
use std::collections::BTreeSet;

/// Runs the first kernel of a text by one thread, with a buffer of `[7, 0, 0, ...]` as its parameter; its second word.
fn second_word(source: &str, seed: u64, checks: Checks) -> Result<u32, Box<Fault>> {
    let module = match hetir::text::parse(source) {
        Ok(module) => module,
        Err(errors) => panic!("{}", render(&errors, "test", source)),
    };
    if let Err(errors) = hetir::verify::verify(&module) {
        panic!("{}", render(&errors, "test", source));
    }
    let mut memory = Arena::new();
    let mut bytes = vec![0; 256];
    bytes[0] = 7;
    let data = memory.alloc("data", bytes);
    let globals = place_globals(&module, |_| 0, &mut memory).expect("only shared variables");
    let params = data.to_le_bytes();
    let launch = Launch { params: &params, globals: &globals, ..Launch::new(&module, FuncId::new(0)) };
    let mut options = Options { seed, checks, max_steps: Some(10_000_000), ..Options::default() };
    run(&launch, &mut memory, &mut options)?;
    let word = &memory.region(data).expect("it is still there").data[4..8];
    Ok(u32::from_le_bytes(word.try_into().expect("four bytes")))
}

fn words(source: &str) -> BTreeSet<u32> {
    (0..64).map(|seed| second_word(source, seed, Checks::default()).unwrap_or_else(|f| panic!("{f}"))).collect()
}

/// Copies the 7 to shared memory, where a 1 is, and gives what is read there after `between`.
fn copy(between: &str) -> String {
    format!(
        "shared @s: 64 align 16
visible kernel @k(data: 8 align 8 at 0) {{
block0:
    v0: i64 = const 0
    v1: i64 = load.param v0
    v2: i64 = global_addr @s
    v3: i32 = const 1
    v4: i32 = const 4
    v6: i64 = const 16
    v7: i64 = iadd v2, v6
    v8: i32 = const 16
    v9: i64 = const 48
    v10: i64 = iadd v2, v9
    store.shared v2, v3
    {between}
    v5: i32 = load.shared v2
    store.global v1 + 4, v5
    ret
}}
"
    )
}

#[test]
fn a_copy_that_is_not_waited_for_may_have_happened_or_not() {
    assert_eq!(words(&copy("cp_async.ca v2, v1, v4, 4")), BTreeSet::from([1, 7]));
    // A group that is open is not waited for, nor is one of the last ones.
    assert_eq!(words(&copy("cp_async.ca v2, v1, v4, 4\n cp_async_wait 0")), BTreeSet::from([1, 7]));
    assert_eq!(words(&copy("cp_async.ca v2, v1, v4, 4\n cp_async_commit\n cp_async_wait 1")), BTreeSet::from([1, 7]));
}

#[test]
fn a_copy_that_is_waited_for_has_happened() {
    let waited = "cp_async.ca v2, v1, v4, 4\n cp_async_commit\n cp_async_wait 0";
    assert_eq!(words(&copy(waited)), BTreeSet::from([7]));
    let older = "cp_async.ca v2, v1, v4, 4\n cp_async_commit\n cp_async_commit\n cp_async_wait 1";
    assert_eq!(words(&copy(older)), BTreeSet::from([7]));
    let zeros = "cp_async.ca v2, v1, v12, 4\n cp_async_commit\n cp_async_wait 0";
    assert_eq!(words(&copy(&format!("v12: i32 = const 0\n {zeros}"))), BTreeSet::from([0]));
}

#[test]
fn the_same_seed_gives_the_same_moment() {
    let source = copy("cp_async.ca v2, v1, v4, 4");
    for seed in 0..64 {
        let once = second_word(&source, seed, Checks::default()).ok();
        assert_eq!(once, second_word(&source, seed, Checks::default()).ok());
    }
}

#[test]
fn reading_early_is_a_race_whatever_the_seed() {
    for seed in 0..16 {
        let fault = second_word(&copy("cp_async.ca v2, v1, v4, 4"), seed, Checks::ALL).expect_err("it reads too early");
        assert_eq!(fault.kind, FaultKind::Race, "{fault}");
        assert_eq!(fault.related.len(), 1, "{fault}");
    }
}

#[test]
fn a_source_may_be_written_once_it_has_been_read() {
    // Shared memory holds 1 and then 9; what is stored to the second 16 bytes of the buffer is the 1.
    let store = |wait: &str| {
        copy(&format!(
            "v12: i64 = iadd v1, v6
    store.shared v2 + 4, v3
    store.shared v2 + 8, v3
    store.shared v2 + 12, v3
    bulk_store v12, v2, v8
    bulk_commit
    {wait}
    v13: i32 = const 9
    store.shared v2, v13
    bulk_wait 0
    v14: i32 = load.global v12
    store.shared v2, v14"
        ))
    };
    assert_eq!(words(&store("bulk_wait.reads 0")), BTreeSet::from([1]));
    assert_eq!(words(&store("bulk_wait 0")), BTreeSet::from([1]));
    assert_eq!(words(&store("")), BTreeSet::from([1, 9]));
    assert!(second_word(&store("bulk_wait.reads 0"), 0, Checks::ALL).is_ok());
    assert_eq!(second_word(&store(""), 0, Checks::ALL).map_err(|f| f.kind), Err(FaultKind::Race));
}

#[test]
fn a_phase_is_not_complete_before_its_bytes_have_come() {
    // One test right after the copy, and one try that waits.
    let load = |test: &str| {
        copy(&format!(
            "mbarrier_init.shared v10, v3
    v12: i64 = mbarrier_arrive_expect.shared.release.cta v10, v8
    bulk_load.shared v7, v1, v8, v10
    {test}
    v14: i32 = zext v13
    store.shared v2, v14"
        ))
    };
    // In so short a program the copy is not due before the test.
    assert_eq!(words(&load("v13: b1 = mbarrier_test.shared.acquire.cta v10, v12")), BTreeSet::from([0]));
    let time = "v15: i32 = const 0";
    let wait = format!("{time}\n v13: b1 = mbarrier_try.shared.acquire.cta v10, v15, v12");
    assert_eq!(words(&load(&wait)), BTreeSet::from([1]));
}
