//! What is in a snapshot, in short and in full.

use crate::codec::{Wire, wire};
use crate::container::SectionKind;
use crate::map::{Chunk, Form, What};
use crate::read::{Laid, Snapshot};
use crate::wire::{Frames, Launch, Manifest, MemoryKind, Progress};
use crate::{Digest, Result};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt;

wire! {
    /// A snapshot in short.
    pub struct Summary {
        /// Its name.
        pub name: String,
        /// Its identity.
        pub identity: Digest,
        /// Version of the format.
        pub version: u32,
        /// Bytes of the file.
        pub bytes: u64,
        /// Whose it is.
        pub manifest: Manifest,
        /// Those that it is built on, the nearest first.
        pub chain: Vec<ChainLink>,
        /// The container's sections.
        pub sections: Vec<SectionNote>,
        /// Its memory.
        pub memory: MemoryNote,
        /// Numbers of objects by kind.
        pub objects: Vec<(String, u64)>,
        /// Launches that have not ended.
        pub launches: Vec<LaunchNote>,
    }

    /// A snapshot that another is built on.
    pub struct ChainLink {
        /// Its name.
        pub name: String,
        /// Its identity.
        pub identity: Digest,
        /// Bytes of the file.
        pub bytes: u64,
    }

    /// A section of the container.
    pub struct SectionNote {
        /// What it holds.
        pub name: String,
        /// Where it begins.
        pub offset: u64,
        /// Its bytes.
        pub bytes: u64,
    }

    /// What memory takes.
    pub struct MemoryNote {
        /// Ranges of addresses.
        pub ranges: u64,
        /// Bytes in them.
        pub bytes: u64,
        /// Bytes of contents without an address: code, texels.
        pub blobs: u64,
        /// Bytes of chunks that are zeros and take no room.
        pub zeros: u64,
        /// Bytes of chunks that are the same as others.
        pub repeated: u64,
        /// Bytes of chunks that are in a snapshot further down.
        pub below: u64,
        /// Bytes of chunks that are in this file as they are.
        pub whole: u64,
        /// Chunks that are in this file as changes of others.
        pub patches: u64,
        /// Bytes of those changes.
        pub patched: u64,
    }

    /// A launch that has not ended.
    pub struct LaunchNote {
        /// Its number.
        pub number: u64,
        /// The kernel.
        pub kernel: String,
        /// Blocks.
        pub grid: [u32; 3],
        /// Threads a block.
        pub block: [u32; 3],
        /// It was suspended; else it waits.
        pub suspended: bool,
        /// Blocks that ran to their end.
        pub done: u64,
        /// Blocks that saved themselves.
        pub saved: u64,
        /// Blocks that have not begun.
        pub fresh: u64,
        /// Bytes of frames.
        pub frame_bytes: u64,
        /// Where threads stand.
        pub sites: Vec<SiteNote>,
    }

    /// A place where threads stand.
    pub struct SiteNote {
        /// Its number.
        pub site: u32,
        /// What it is.
        pub kind: String,
        /// The line of the text.
        pub line: u32,
        /// Blocks with threads there.
        pub blocks: u64,
        /// Threads there.
        pub threads: u64,
    }
}

impl Snapshot {
    /// In short.
    pub fn summary(&self) -> Summary {
        let mut chain = Vec::new();
        let mut below = self.base();
        while let Some(base) = below {
            chain.push(ChainLink { name: base.name(), identity: base.identity(), bytes: base.header().bytes });
            below = base.base();
        }
        let note = |section: &crate::Section| SectionNote {
            name: section.kind().map_or_else(|| format!("section {}", section.number), |kind| kind.name().into()),
            offset: section.offset,
            bytes: section.length,
        };
        let frames = |launch: &Launch| self.job().frames.iter().find(|frames| frames.launch == launch.number);
        Summary {
            name: self.name(),
            identity: self.identity(),
            version: self.header().version,
            bytes: self.header().bytes,
            manifest: self.job().manifest.clone(),
            chain,
            sections: self.header().sections.iter().map(note).collect(),
            memory: self.memory_note(),
            objects: self.objects(),
            launches: self.job().launches.iter().map(|launch| launch_note(launch, frames(launch))).collect(),
        }
    }

    fn memory_note(&self) -> MemoryNote {
        let sum = |extents: &[crate::read::Laid]| extents.iter().map(|extent| extent.bytes).sum();
        let mut note = MemoryNote {
            ranges: self.regions.len() as u64,
            bytes: sum(&self.regions),
            blobs: sum(&self.blobs),
            ..MemoryNote::default()
        };
        let own: HashSet<Digest> = self.chunks.iter().map(|chunk| chunk.digest).collect();
        let mut seen = vec![false; self.digests.len()];
        for (at, bytes, run) in self.regions.iter().chain(&self.blobs).flat_map(|extent| extent.spans()) {
            // What is left of a run are chunks that were counted.
            let mut rest = bytes;
            for (_, bytes, index) in Laid::samples(at, bytes, run) {
                if !std::mem::replace(&mut seen[index as usize], true) {
                    rest -= bytes;
                    note.below += if own.contains(&self.digests[index as usize]) { 0 } else { bytes };
                }
            }
            match run.what {
                What::Zeros => note.zeros += rest,
                What::Same { .. } | What::Ascending { .. } => note.repeated += rest,
            }
        }
        for chunk in &self.chunks {
            match chunk.form {
                Form::Whole => note.whole += u64::from(chunk.bytes),
                Form::Patch { .. } => {
                    note.patches += 1;
                    note.patched += Chunk::stored(chunk).unwrap_or(0);
                }
            }
        }
        note
    }

    fn objects(&self) -> Vec<(String, u64)> {
        let job = self.job();
        let of = |kind: MemoryKind| job.memory.allocations.iter().filter(|one| one.kind == kind).count();
        let sessions = job.contexts.contexts.iter().filter(|context| context.session.is_some()).count();
        let all = [
            ("contexts in use", sessions),
            ("device allocations", of(MemoryKind::Device)),
            ("managed allocations", of(MemoryKind::Managed)),
            ("pinned allocations", of(MemoryKind::Pinned)),
            ("registered ranges", of(MemoryKind::Registered)),
            ("mappings", of(MemoryKind::Mapped)),
            ("memory pools", job.memory.pools.len()),
            ("modules", job.code.modules.len()),
            ("libraries", job.code.libraries.len()),
            ("streams", job.streams.streams.len()),
            ("operations that wait", job.streams.work.len()),
            ("events", job.events.len()),
            ("arrays", job.texels.storages.len()),
            ("textures and surfaces", job.texels.objects.len()),
            ("graphs", job.graphs.graphs.iter().filter(|graph| graph.handle.is_some()).count()),
            ("executable graphs", job.graphs.executables.len()),
        ];
        all.into_iter().filter(|one| one.1 > 0).map(|(name, count)| (name.to_owned(), count as u64)).collect()
    }

    /// All that it says about the job, for tools: records by section.
    pub fn details(&self) -> Value {
        let job = self.job();
        let sections = [
            (SectionKind::Manifest, job.manifest.show()),
            (SectionKind::Contexts, job.contexts.show()),
            (SectionKind::Memory, job.memory.show()),
            (SectionKind::Code, job.code.show()),
            (SectionKind::Streams, job.streams.show()),
            (SectionKind::Events, job.events.show()),
            (SectionKind::Texels, job.texels.show()),
            (SectionKind::Graphs, job.graphs.show()),
            (SectionKind::Launches, job.launches.show()),
            (SectionKind::Frames, job.frames.show()),
        ];
        Value::Object(sections.into_iter().map(|(kind, value)| (kind.name().to_owned(), value)).collect())
    }
}

fn launch_note(launch: &Launch, frames: Option<&Frames>) -> LaunchNote {
    let mut note = LaunchNote {
        number: launch.number,
        kernel: launch.name.clone(),
        grid: launch.shape.grid,
        block: launch.shape.block,
        ..LaunchNote::default()
    };
    let all = launch.shape.grid.iter().map(|&extent| u64::from(extent)).fold(1, u64::saturating_mul);
    match &launch.progress {
        Progress::Waiting => note.fresh = all,
        Progress::Suspended { suspension, left } => {
            note.suspended = true;
            note.frame_bytes = suspension.frame_bytes;
            note.done = all.saturating_sub(*left);
        }
    }
    let Some(frames) = frames else { return note };
    (note.done, note.saved, note.fresh) = (frames.done, frames.blocks.len() as u64, frames.fresh);
    note.sites = frames
        .sites
        .iter()
        .map(|site| {
            let there = frames.blocks.iter().filter_map(|block| {
                let threads = block.threads.iter().filter(|(number, _)| *number == site.number);
                Some(threads.map(|(_, threads)| u64::from(*threads)).sum::<u64>()).filter(|&threads| threads > 0)
            });
            let (blocks, threads) = there.fold((0, 0), |(blocks, all), threads| (blocks + 1, all + threads));
            SiteNote { site: site.number, kind: site.kind.clone(), line: site.line, blocks, threads }
        })
        .filter(|site| site.blocks > 0)
        .collect();
    note
}

/// Bytes as people read them.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

impl Summary {
    /// For tools.
    pub fn json(&self) -> Value {
        self.show()
    }
}

/// Text of a snapshot is shown without what could steer a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Manifest { written_by, host, process, program, job, devices, frozen, .. } = &self.manifest;
        writeln!(f, "{}  {}  {}", plain(&self.name), self.identity.short(), size(self.bytes))?;
        let words: Vec<String> = program.iter().map(|word| plain(word)).collect();
        let job = if job.is_empty() { String::new() } else { format!("{}: ", plain(job)) };
        writeln!(f, "  {job}{} (process {process} on {}, by {})", words.join(" "), plain(host), plain(written_by))?;
        if *frozen > 0 {
            writeln!(f, "  it stood still for {:.1} ms", *frozen as f64 / 1e3)?;
        }
        for device in devices {
            let [major, minor] = device.compute;
            let (name, kind) = (plain(&device.name), plain(&device.kind));
            writeln!(f, "  device {name} ({kind}), compute {major}.{minor}, {} in use", size(device.used))?;
        }
        for link in &self.chain {
            writeln!(f, "  built on {}  {}  {}", plain(&link.name), link.identity.short(), size(link.bytes))?;
        }
        let MemoryNote { ranges, bytes, blobs, zeros, repeated, below, whole, patches, patched } = &self.memory;
        writeln!(f, "  memory: {} in {ranges} ranges, and {} of code and texels", size(*bytes), size(*blobs))?;
        writeln!(
            f,
            "    zeros {}, repeated {}, in what it is built on {}",
            size(*zeros),
            size(*repeated),
            size(*below)
        )?;
        writeln!(f, "    in this file {}, and {patches} changed chunks in {}", size(*whole), size(*patched))?;
        for (name, count) in &self.objects {
            writeln!(f, "  {name}: {count}")?;
        }
        for launch in &self.launches {
            let ([x, y, z], [a, b, c]) = (launch.grid, launch.block);
            let LaunchNote { number, done, saved, fresh, .. } = launch;
            let state = if launch.suspended { "suspended" } else { "waiting" };
            writeln!(f, "  launch {number}: {} <<<{x}x{y}x{z}, {a}x{b}x{c}>>> {state}", plain(&launch.kernel))?;
            writeln!(
                f,
                "    blocks: {done} done, {saved} saved, {fresh} not begun; frames {}",
                size(launch.frame_bytes)
            )?;
            for site in &launch.sites {
                let SiteNote { site, kind, line, blocks, threads } = site;
                let line = if *line > 0 { format!(", line {line}") } else { String::new() };
                writeln!(f, "    at site {site} ({}{line}): {threads} threads of {blocks} blocks", plain(kind))?;
            }
        }
        Ok(())
    }
}

/// What `inspect` prints of a store: a line a snapshot, and what is wrong with those that cannot be read.
pub fn list(store: &crate::Store) -> Result<Vec<(String, Result<crate::Entry>)>> {
    Ok(store.names()?.into_iter().map(|name| (name.clone(), store.entry(&name))).collect())
}
