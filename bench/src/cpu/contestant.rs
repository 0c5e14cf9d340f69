//! A contestant as the benchmark sees it: a worker process that answers questions.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// How a worker is started.
#[derive(Clone)]
pub(crate) struct Recipe {
    pub(crate) name: &'static str,
    pub(crate) interface: &'static str,
    pub(crate) library: String,
    pub(crate) sources: PathBuf,
    /// Where its libraries' messages go.
    pub(crate) log: PathBuf,
    pub(crate) environment: Vec<(String, String)>,
    /// The variable that limits how many threads it uses.
    pub(crate) threads: &'static str,
    /// What to do where it is not installed.
    pub(crate) install: &'static str,
}

/// A worker that runs.
pub(crate) struct Worker {
    child: Child,
    input: ChildStdin,
    answers: Receiver<String>,
    log: PathBuf,
    pub(crate) device: String,
}

/// An answer that did not come, or `error`.
pub(crate) enum Failure {
    /// The worker can go on.
    Refused(String),
    /// It has ended, or has been ended.
    Gone(String),
}

impl Failure {
    pub(crate) fn text(self) -> String {
        match self {
            Self::Refused(text) | Self::Gone(text) => text,
        }
    }
}

impl Recipe {
    /// Starts a worker, with so many threads if that is limited.
    pub(crate) fn start(&self, threads: Option<usize>, limit: Duration) -> Result<Worker, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command.args(["worker", self.interface, &self.library]).arg(&self.sources);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(threads) = threads {
            command.env(self.threads, threads.to_string());
        }
        let log = File::options().create(true).append(true).open(&self.log);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.map_err(|error| format!("{}: {error}", self.log.display()))?)
            .spawn()
            .map_err(|error| format!("the worker does not start: {error}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the worker has no pipes".into());
        };
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // What a library prints to the same output is not an answer.
                if (line.starts_with("ok") || line.starts_with("error ")) && sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut worker = Worker { child, input, answers, log: self.log.clone(), device: String::new() };
        worker.device = worker.answer(limit).map_err(Failure::text)?;
        Ok(worker)
    }
}

impl Worker {
    pub(crate) fn ask(&mut self, question: &str, limit: Duration) -> Result<String, Failure> {
        if writeln!(self.input, "{question}").is_err() {
            return Err(self.ended());
        }
        self.answer(limit)
    }

    /// A question whose answer is numbers in seconds, and perhaps a text behind so many of them.
    pub(crate) fn numbers(
        &mut self,
        question: &str,
        most: usize,
        limit: Duration,
    ) -> Result<(Vec<f64>, String), Failure> {
        let answer = self.ask(question, limit)?;
        let mut words = answer.splitn(most + 1, ' ');
        let numbers = words.by_ref().take(most).map_while(|word| word.parse().ok()).collect();
        Ok((numbers, words.next().unwrap_or_default().to_string()))
    }

    fn answer(&mut self, limit: Duration) -> Result<String, Failure> {
        match self.answers.recv_timeout(limit) {
            Ok(line) => match line.strip_prefix("error ") {
                Some(error) => Err(Failure::Refused(error.to_string())),
                None => Ok(line.strip_prefix("ok").unwrap_or_default().trim().to_string()),
            },
            Err(RecvTimeoutError::Timeout) => {
                let _ = self.child.kill();
                Err(Failure::Gone(format!("no answer in {} s", limit.as_secs())))
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
        }
    }

    fn ended(&mut self) -> Failure {
        let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        Failure::Gone(format!("the worker ended: {status}, see {}", self.log.display()))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // A runtime's threads need not be asked.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ours, by its driver API.
pub(crate) fn ours(library: &Path, work: &Path, sources: &Path) -> Recipe {
    Recipe {
        name: "ours",
        interface: "cuda",
        library: library.display().to_string(),
        sources: sources.to_path_buf(),
        log: work.join("ours.log"),
        environment: Vec::new(),
        threads: "HETGPU_CPU_THREADS",
        install: "build it with `cargo build --release --package hetgpu-shim`, or name one by --libcuda",
    }
}

/// The peers, each seen alone by OpenCL's loader. `installed` is where `bench/peers.sh` puts what it installs, `work`
/// a folder for the loader's configuration.
pub(crate) fn peers(installed: &Path, work: &Path, sources: &Path) -> Result<Vec<Recipe>, String> {
    let lib = installed.join("lib");
    let lib = std::path::absolute(&lib).unwrap_or(lib);
    let peer = |name, library: String, paths: Option<&Path>, threads, install| -> Result<Recipe, String> {
        let vendors = work.join(format!("vendors-{name}"));
        let vendors = std::path::absolute(&vendors).unwrap_or(vendors);
        let fail = |error: std::io::Error| format!("{}: {error}", vendors.display());
        std::fs::create_dir_all(&vendors).map_err(fail)?;
        std::fs::write(vendors.join("only.icd"), format!("{library}\n")).map_err(fail)?;
        let mut environment = vec![
            // Both loaders in use take a folder; ocl-icd wants the slash.
            ("OCL_ICD_VENDORS".to_string(), format!("{}/", vendors.display())),
            ("OPENCL_VENDOR_PATH".to_string(), format!("{}/", vendors.display())),
            ("POCL_CACHE_DIR".to_string(), vendors.join("cache").display().to_string()),
        ];
        if let Some(paths) = paths {
            let before = std::env::var("LD_LIBRARY_PATH").map(|old| format!(":{old}")).unwrap_or_default();
            environment.push(("LD_LIBRARY_PATH".into(), format!("{}{before}", paths.display())));
        }
        Ok(Recipe {
            name,
            interface: "opencl",
            library: "libOpenCL.so.1".into(),
            sources: sources.to_path_buf(),
            log: work.join(format!("{name}.log")),
            environment,
            threads,
            install,
        })
    };
    Ok(vec![
        peer(
            "pocl",
            "libpocl.so.2".into(),
            None,
            "POCL_MAX_PTHREAD_COUNT",
            "install it with `apt-get install libpocl2 ocl-icd-libopencl1`",
        )?,
        peer(
            "intel",
            lib.join("libintelocl.so").display().to_string(),
            Some(&lib),
            "DPCPP_CPU_NUM_CUS",
            "install it with `bench/peers.sh`",
        )?,
    ])
}
