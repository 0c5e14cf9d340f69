//! What memory of the card holds, told without its leaving the card: BLAKE3 digests of its chunks, as snapshots have them.
//!
//! A block of threads has a chunk of 64 KiB. Each of its 64 threads takes in one of the 1024 bytes that the function calls a chunk, sixteen
//! blocks of 64 bytes one after the other; then half of them join the results of two each, and so on, until one is left.

use crate::driver::{Context, Function, Image, LaunchShape, Stream};
use hetgpu_device::{DIGEST_CHUNK, DeviceError, HostBuffer};
use std::ffi::CString;
use std::fmt::Write;
use std::sync::Arc;

/// Threads of a block, each with so many bytes.
const THREADS: u32 = 64;
const LEAF: u64 = DIGEST_CHUNK / THREADS as u64;
/// Bytes that are taken in at once.
const BLOCK: u64 = 64;
/// Words of a digest.
const WORDS: usize = 8;
/// The most chunks of one launch: their digests take 2 MiB.
const MOST: u64 = 1 << 16;

/// The first 32 bits of the fractional parts of the square roots of the first eight primes.
const START: [u32; WORDS] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
/// Which word of the message stands where in the next round.
const ORDER: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
const ROUNDS: usize = 7;
/// Which words of the state are mixed in the halves of a round.
const MIXED: [[usize; 4]; 8] = [
    [0, 4, 8, 12],
    [1, 5, 9, 13],
    [2, 6, 10, 14],
    [3, 7, 11, 15],
    [0, 5, 10, 15],
    [1, 6, 11, 12],
    [2, 7, 8, 13],
    [3, 4, 9, 14],
];

// What a block is: the first or the last of its chunk, the results of two, and the last of all.
const FIRST: u32 = 1;
const LAST: u32 = 2;
const JOINS: u32 = 4;
const ROOT: u32 = 8;

/// The entry point, and where its parameters lie: the memory, and where digests go.
const ENTRY: &str = "hetgpu_digests";
const OFFSETS: [u32; 2] = [0, 8];

/// Takes the words of a message in `%m` into `%h`; `%number` and `%flags` say which block it is.
fn compress(text: &mut String) {
    let mut put = |line: String| writeln!(text, "\t{line}").unwrap_or_default();
    for word in 0..WORDS {
        put(format!("mov.u32 %v{word}, %h{word};"));
    }
    for (word, start) in START.iter().take(4).enumerate() {
        put(format!("mov.u32 %v{}, {start:#x};", 8 + word));
    }
    put("mov.u32 %v12, %number;".into());
    put("mov.u32 %v13, 0;".into());
    put(format!("mov.u32 %v14, {BLOCK};"));
    put("mov.u32 %v15, %flags;".into());
    let mut message: [usize; 16] = std::array::from_fn(|word| word);
    for _ in 0..ROUNDS {
        for (half, [a, b, c, d]) in MIXED.into_iter().enumerate() {
            for (word, turns) in [(message[2 * half], [16, 12]), (message[2 * half + 1], [8, 7])] {
                put(format!("add.u32 %v{a}, %v{a}, %v{b};"));
                put(format!("add.u32 %v{a}, %v{a}, %m{word};"));
                put(format!("xor.b32 %v{d}, %v{d}, %v{a};"));
                put(format!("shf.r.wrap.b32 %v{d}, %v{d}, %v{d}, {};", turns[0]));
                put(format!("add.u32 %v{c}, %v{c}, %v{d};"));
                put(format!("xor.b32 %v{b}, %v{b}, %v{c};"));
                put(format!("shf.r.wrap.b32 %v{b}, %v{b}, %v{b}, {};", turns[1]));
            }
        }
        message = ORDER.map(|word| message[word]);
    }
    for word in 0..WORDS {
        put(format!("xor.b32 %h{word}, %v{word}, %v{};", word + 8));
    }
}

fn lines(text: &mut String, all: &str) {
    all.lines().map(str::trim).filter(|line| !line.is_empty()).for_each(|line| {
        text.push_str(line);
        text.push('\n');
    });
}

/// The kernel.
pub fn digest_kernel() -> String {
    let mut text = String::new();
    lines(
        &mut text,
        &format!(
            ".version 7.0
            .target sm_75
            .address_size 64
            .visible .entry {ENTRY}(.param .u64 memory, .param .u64 digests) .maxntid {THREADS}, 1, 1
            {{
            .shared .align 16 .b8 joined[{}];
            .reg .u32 %v<16>, %m<16>, %h<8>, %number, %flags, %thread, %block, %left, %place;
            .reg .u64 %at, %to, %offset, %shared;
            .reg .pred %more, %mine, %last;
            mov.u32 %thread, %tid.x;
            mov.u32 %block, %ctaid.x;
            ld.param.u64 %at, [memory];
            cvta.to.global.u64 %at, %at;
            mul.wide.u32 %offset, %block, {DIGEST_CHUNK};
            add.u64 %at, %at, %offset;
            mul.wide.u32 %offset, %thread, {LEAF};
            add.u64 %at, %at, %offset;
            mov.u64 %shared, joined;
            mov.u32 %number, %thread;
            mov.u32 %flags, {FIRST};
            mov.u32 %left, {};",
            THREADS as usize * WORDS * 4,
            LEAF / BLOCK
        ),
    );
    let start = |text: &mut String| {
        for (word, start) in START.iter().enumerate() {
            writeln!(text, "mov.u32 %h{word}, {start:#x};").unwrap_or_default();
        }
    };
    let vectors = |text: &mut String, what: &str, name: char, count: usize, address: &str, loads: bool| {
        for vector in 0..count / 4 {
            let words: Vec<String> = (0..4).map(|word| format!("%{name}{}", vector * 4 + word)).collect();
            let (words, place) = (format!("{{{}}}", words.join(", ")), format!("[{address}+{}]", vector * 16));
            let both = if loads { format!("{words}, {place}") } else { format!("{place}, {words}") };
            writeln!(text, "{what}.v4.u32 {both};").unwrap_or_default();
        }
    };
    start(&mut text);
    lines(&mut text, "BLOCKS:");
    vectors(&mut text, "ld.global", 'm', 16, "%at", true);
    lines(
        &mut text,
        &format!(
            "setp.eq.u32 %last, %left, 1;
            @%last or.b32 %flags, %flags, {LAST};"
        ),
    );
    compress(&mut text);
    lines(
        &mut text,
        &format!(
            "mov.u32 %flags, 0;
            add.u64 %at, %at, {BLOCK};
            sub.u32 %left, %left, 1;
            setp.ne.u32 %more, %left, 0;
            @%more bra BLOCKS;
            mov.u32 %number, 0;
            mov.u32 %left, {THREADS};
            mov.u32 %place, %thread;
            setp.lt.u32 %mine, %thread, %left;
            JOIN:
            mul.wide.u32 %offset, %place, {};
            add.u64 %to, %shared, %offset;",
            WORDS * 4
        ),
    );
    // Who has a result leaves it in its place; half as many go on.
    lines(&mut text, "@!%mine bra LEFT;");
    vectors(&mut text, "st.shared", 'h', WORDS, "%to", false);
    lines(
        &mut text,
        "LEFT:
        bar.sync 0;
        shr.u32 %left, %left, 1;
        setp.lt.u32 %mine, %thread, %left;
        @!%mine bra READ;",
    );
    lines(
        &mut text,
        &format!(
            "mul.wide.u32 %offset, %thread, {};
            add.u64 %to, %shared, %offset;",
            2 * WORDS * 4
        ),
    );
    vectors(&mut text, "ld.shared", 'm', 16, "%to", true);
    lines(
        &mut text,
        "READ:
        bar.sync 0;
        @!%mine bra JOINED;",
    );
    start(&mut text);
    lines(
        &mut text,
        &format!(
            "mov.u32 %flags, {JOINS};
            setp.eq.u32 %last, %left, 1;
            @%last or.b32 %flags, %flags, {ROOT};"
        ),
    );
    compress(&mut text);
    lines(
        &mut text,
        &format!(
            "JOINED:
            setp.gt.u32 %more, %left, 1;
            @%more bra JOIN;
            setp.ne.u32 %more, %thread, 0;
            @%more ret;
            ld.param.u64 %to, [digests];
            cvta.to.global.u64 %to, %to;
            mul.wide.u32 %offset, %block, {};
            add.u64 %to, %to, %offset;",
            WORDS * 4
        ),
    );
    vectors(&mut text, "st.global", 'h', WORDS, "%to", false);
    lines(&mut text, "ret;\n}");
    text
}

/// The kernel, as the driver has it.
pub(crate) struct Digests(Function);

impl Digests {
    pub(crate) fn new(context: &Arc<Context>) -> Result<Self, DeviceError> {
        let text = CString::new(digest_kernel()).unwrap_or_default();
        let module = Arc::new(context.load(Image::Text(&text))?);
        module.function(ENTRY).map(Self)
    }

    /// Those of a range of whole chunks.
    pub(crate) fn of(
        &self,
        context: &Arc<Context>,
        stream: &Stream,
        at: u64,
        bytes: u64,
    ) -> Result<Vec<[u8; 32]>, DeviceError> {
        let count = bytes / DIGEST_CHUNK;
        let results = context.scratch(count.min(MOST) * 32)?;
        let mut digests = Vec::with_capacity(count as usize);
        for first in (0..count).step_by(MOST as usize) {
            let chunks = MOST.min(count - first);
            let params = [at + first * DIGEST_CHUNK, results.at].map(u64::to_le_bytes).concat();
            let (grid, block, cluster) = ([chunks as u32, 1, 1], [THREADS, 1, 1], [1; 3]);
            let shape = LaunchShape { grid, block, cluster, shared: 0, cooperative: false };
            stream.launch(&self.0, &shape, &params, &OFFSETS)?;
            let out = HostBuffer::from(vec![0; chunks as usize * 32]);
            stream.copy_out(&out.span(), results.at)?;
            stream.synchronize()?;
            digests
                .extend(out.to_vec().chunks_exact(32).map(|digest| <[u8; 32]>::try_from(digest).unwrap_or_default()));
        }
        Ok(digests)
    }
}
