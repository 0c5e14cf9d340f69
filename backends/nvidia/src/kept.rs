//! Texts of kernels that are kept from run to run, so that a process that starts again need not print them.

use crate::ptx::{self, Printed, Request, Unprintable};
use hetgpu_cache::{Cache, Digest, Hasher};
use hetgpu_device::{Importance, Services};
use std::sync::atomic::{AtomicBool, Ordering};

/// Stands for the sources that decide how kernels are printed.
const VERSION: &str = env!("HETGPU_PRINTING_VERSION");

/// Where texts are kept.
pub struct Kept {
    cache: Option<Cache>,
    services: Services,
    complained: AtomicBool,
}

impl Kept {
    /// In the folder that a process offers, if it does.
    pub fn new(services: &Services) -> Self {
        let kept = Self { cache: None, services: services.clone(), complained: AtomicBool::new(false) };
        let Some(place) = &services.cache else { return kept };
        match Cache::open(&place.folder, place.limit) {
            Ok(cache) => Self { cache: Some(cache), ..kept },
            Err(error) => {
                kept.complain(&error);
                kept
            }
        }
    }

    /// A kernel's text, and whether it was kept.
    ///
    /// # Errors
    /// What there is no PTX for.
    pub fn print(&self, request: &Request<'_>) -> Result<(Printed, bool), Unprintable> {
        let Some(cache) = &self.cache else { return Ok((ptx::print(request)?, false)) };
        let key = key(&ptx::basis(request)?);
        if let Some(printed) = cache.load(&key).and_then(|contents| Printed::decode(&contents)) {
            return Ok((printed, true));
        }
        let printed = ptx::print(request)?;
        if let Err(error) = cache.store(&key, &printed.encode()) {
            self.complain(&error);
        }
        Ok((printed, false))
    }

    fn complain(&self, error: &std::io::Error) {
        if let (false, Some(log)) = (self.complained.swap(true, Ordering::Relaxed), &self.services.log) {
            log(Importance::Warning, format_args!("printed kernels are not kept: {error}"));
        }
    }
}

fn key(basis: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    for field in [b"a kernel as PTX", VERSION.as_bytes(), basis] {
        hasher.field(field);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ptx::{Addresses, Part, Target};
    use hetgpu_cache::Temporary;
    use hetgpu_device::Cache as Place;
    use hetir::random::{Config, Source, program};
    use std::sync::{Arc, Mutex};

    #[test]
    fn a_kept_text_is_the_printed_one() {
        let folder = Temporary::new().unwrap();
        let place = Place { folder: folder.path().into(), limit: 1 << 20 };
        let services = Services { cache: Some(place), ..Services::default() };
        let target = Target { compute: (9, 0), architecture_specific: true, isa: (8, 0) };
        let mut kept = 0;
        for seed in 0..20 {
            let made = program(&mut Source::from_seed(seed), &Config::default());
            let globals = vec![0x1000; made.module.globals.len()];
            for (addresses, part) in
                [(Addresses::Native, Part::Whole), (Addresses::Native, Part::List), (Addresses::Logical, Part::Cuboid)]
            {
                let request = Request {
                    module: &made.module,
                    kernel: made.kernel,
                    globals: &globals,
                    target: &target,
                    addresses,
                    part,
                    stops: part == Part::List,
                };
                let printed = ptx::print(&request);
                // Each time as a process of its own.
                for before in [false, true, true] {
                    let found = Kept::new(&services).print(&request);
                    assert_eq!(found, printed.clone().map(|printed| (printed, before)), "seed {seed}");
                }
                kept += usize::from(printed.is_ok());
            }
        }
        assert!(kept >= 20, "{kept}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), kept);
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_complained_about_once() {
        let folder = Temporary::new().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let log = {
            let lines = Arc::clone(&lines);
            move |_, line: std::fmt::Arguments<'_>| lines.lock().unwrap().push(line.to_string())
        };
        let services = Services { cache: Some(Place { folder: file, limit: 1 }), log: Some(Arc::new(log)), dump: None };
        let kept = Kept::new(&services);
        kept.complain(&std::io::Error::other("again"));
        let lines = lines.lock().unwrap();
        assert!(matches!(&lines[..], [only] if only.contains("printed kernels are not kept")), "{lines:?}");
    }
}
