//! What a snapshot says about a job, checked against itself.

use crate::wire::{Blob, Job, Operation, Place};

/// Every blob that a job speaks of.
pub(crate) fn blobs(job: &Job) -> Vec<Blob> {
    let mut all = Vec::new();
    for code in &job.code.codes {
        all.extend(code.image);
        all.push(code.text);
    }
    for linker in &job.code.linkers {
        all.extend(&linker.inputs);
        all.extend(linker.image);
    }
    all.extend(job.memory.physical.iter().filter_map(|physical| physical.contents));
    all.extend(job.texels.storages.iter().flat_map(|storage| &storage.contents));
    for work in &job.streams.work {
        if let Operation::Copy { from: Place::Bytes { contents }, .. } = &work.operation {
            all.push(*contents);
        }
    }
    all
}
