//! An agent that freezes a job is killed before, while and after it does that; the job goes on by itself after its limit, or is let go on,
//! and another agent begins where that one was.

use super::super::Bench;
use super::{PATIENCE, Run};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// When it is killed.
enum Moment {
    /// While it freezes.
    Freezing,
    /// When it has frozen.
    Frozen,
    /// While it thaws.
    Thawing,
}

/// An agent of a lane's jobs, which is killed when this is dropped.
struct Agent {
    child: Child,
    at: PathBuf,
}

impl Agent {
    fn start(bench: &Bench, at: &Path) -> Result<Self, String> {
        let mut command = bench.migrate(&["agent", &at.display().to_string()]);
        let child = command.stdout(Stdio::null()).spawn().map_err(|error| format!("agent: {error}"))?;
        let agent = Self { child, at: at.to_path_buf() };
        let start = Instant::now();
        while UnixStream::connect(&agent.at).is_err() {
            if start.elapsed() > PATIENCE {
                return Err("the agent does not listen".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(agent)
    }

    fn say(&self, request: &Value) -> Result<UnixStream, String> {
        let trouble = |error: std::io::Error| format!("the agent: {error}");
        let stream = UnixStream::connect(&self.at).map_err(trouble)?;
        writeln!(&stream, "{request}").map_err(trouble)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(trouble)?;
        Ok(stream)
    }

    fn ask(&self, request: &Value) -> Result<Value, String> {
        let mut answer = String::new();
        let heard = BufReader::new(self.say(request)?).read_line(&mut answer);
        heard.map_err(|error| format!("the agent: {error}"))?;
        serde_json::from_str(&answer).map_err(|error| format!("the agent: `{answer}`: {error}"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Run<'_> {
    pub(super) fn agent_killed(&mut self) -> Result<bool, String> {
        let Some(sockets) = &self.bench.sockets else { return Ok(false) };
        let at = sockets.join("agent");
        let release = self.random.below(2) == 0;
        let by_itself = self.random.below(2) == 0;
        let mut freeze = json!({ "do": "freeze", "release": release });
        if by_itself {
            (freeze["limit_s"], freeze["within_ms"]) = (json!(1), json!(1000));
        }
        let thaw = json!({ "do": "thaw" });
        let agent = Agent::start(self.bench, &at)?;
        let moment = match self.random.below(3) {
            0 => Moment::Freezing,
            1 => Moment::Frozen,
            _ => Moment::Thawing,
        };
        let told = match moment {
            Moment::Freezing => Some(agent.say(&freeze)?),
            Moment::Frozen | Moment::Thawing => {
                let answer = agent.ask(&freeze)?;
                if answer["ok"] != json!(true) && !self.has_ended() {
                    return Err(format!("it is not frozen: {answer}"));
                }
                matches!(moment, Moment::Thawing).then(|| agent.say(&thaw)).transpose()?
            }
        };
        self.moment(10_000);
        drop(agent);
        drop(told);
        self.settle(&at.display().to_string(), true)?;
        if by_itself {
            self.goes_on()?;
        }
        self.recover()?;
        if self.random.below(2) == 0 {
            self.another_agent(&at, &freeze, &thaw)?;
        }
        Ok(true)
    }

    /// Nobody lets the job go on: it does so by itself.
    fn goes_on(&mut self) -> Result<(), String> {
        let start = Instant::now();
        while self.job.lives() && self.stage() != "running" {
            if start.elapsed() > PATIENCE {
                return Err(format!("it does not go on after the limit of an agent that is gone: {}", self.stage()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn another_agent(&mut self, at: &Path, freeze: &Value, thaw: &Value) -> Result<(), String> {
        let agent = Agent::start(self.bench, at)?;
        for request in [freeze, thaw] {
            let answer = agent.ask(request)?;
            if answer["ok"] != json!(true) && !self.has_ended() {
                return Err(format!("another agent, asked to {}: {answer}", request["do"]));
            }
        }
        match self.stage().as_str() {
            "running" => Ok(()),
            _ if self.has_ended() => Ok(()),
            stage => Err(format!("another agent has thawed it, and it is at `{stage}`")),
        }
    }
}
