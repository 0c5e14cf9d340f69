//! Checkpoints of jobs that have the same memory: a folder of each process, all of the same moment.

use super::criu::{self, Criu};
use super::folder::{Folder, Manifest, SNAPSHOT};
use super::group::{self, Group, Member};
use super::jobs::{ARRIVAL, check_files, describe, may_rewind, status};
use super::show::Show;
use super::{number, process, trouble};
use crate::Stop;
use crate::line::Line;
use hetgpu_runtime::group::named;
use hetgpu_runtime::presence;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

/// The jobs that are saved with a process: of one that is saved as a whole all that it has begun too.
pub(super) fn group_of(pid: u32, whole: bool) -> Result<Group, Stop> {
    if !whole {
        return Group::of(pid);
    }
    let tree = criu::tree(pid);
    let Some(group) = Group::among(&tree)? else { return Group::of(pid) };
    let beside = group.pids().chain(group.strangers.iter().copied()).filter(|pid| !tree.contains(pid));
    let beside: BTreeSet<u32> = beside.collect();
    if beside.is_empty() {
        return Ok(group);
    }
    let (who, are) = (named(beside.iter().copied()), if beside.len() == 1 { "is not" } else { "are not" });
    let text = format!(
        "process {pid} shares memory with {who}, which {are} among the processes that it began, and CRIU saves nothing else with it: \
         name the process that began them all; `checkpoint --gpu-only` saves what is on their devices, and `move` moves them"
    );
    Err(trouble(1, text))
}

/// Where each of them is saved.
fn folders(root: &Folder, members: &[Member], make: bool) -> Result<Vec<Folder>, Stop> {
    let mut all = vec![root.clone()];
    for Member { pid, .. } in members.iter().skip(1) {
        let path = root.of_process(*pid);
        let gone = || trouble(3, format!("process {pid}: there is no such process"));
        all.push(if make { Folder::make(&path, process::user(*pid).ok_or_else(gone)?)? } else { Folder::open(&path)? });
    }
    Ok(all)
}

/// Removes what did not become a checkpoint.
pub(super) fn discard(root: &Folder) {
    let below = std::fs::read_dir(root.path()).into_iter().flatten().flatten().map(|entry| entry.path());
    let parts =
        below.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("process-")));
    for part in parts.filter_map(|path| Folder::open(&path).ok()) {
        part.discard();
    }
    root.discard();
}

/// Saves a group: what is on devices, and with CRIU the processes too, of which `pid` began all others.
pub(super) fn save(
    line: &Line,
    show: &Show,
    pid: u32,
    group: Group,
    root: &Folder,
    criu: Option<&Criu>,
) -> Result<(Value, Group), Stop> {
    let leaves = line.has("--leave-running");
    let most = number(line, "--max-freeze")?;
    show.phase("devices");
    let hold = group.hold(show, most, false, &|_| Vec::new())?;
    let (members, group, since) = (hold.members(), hold.group(), Instant::now());
    if criu.is_some() && members.iter().any(|member| !criu::tree(pid).contains(&member.pid)) {
        return Err(trouble(5, "another process came to share the job's memory; try again"));
    }
    let folders = folders(root, &members, true)?;
    let began = |member: &Member| (member.pid, presence::start_of(member.pid).unwrap_or(0));
    let together: Vec<(u32, u64)> = members.iter().map(began).collect();
    let (mut saved, mut manifests) = (BTreeSet::new(), Vec::new());
    let (mut bytes, mut file) = (0, 0);
    for (member, folder) in members.iter().zip(&folders) {
        // Each file of memory once; with the processes CRIU saves it.
        let shared: Vec<u64> =
            member.files().into_iter().filter(|_| criu.is_none()).filter(|&file| saved.insert(file)).collect();
        let base = line.value("--base").map(Path::new).map(|base| match member.pid == members[0].pid {
            true => base.to_owned(),
            false => base.join(format!("process-{}", member.pid)),
        });
        let base = base.filter(|base| base.exists()).map(|base| folder.link(&base)).transpose()?;
        let request = json!({
            "request": "save",
            "folder": folder.path(),
            "name": SNAPSHOT,
            "base": base,
            "let_go": criu.is_some() || !leaves,
            "max_freeze_ms": most,
            "shared": shared,
        });
        let answer = hold.ask(show, member.pid, &request)?;
        bytes += answer["bytes"].as_u64().unwrap_or(0);
        file += answer["file"].as_u64().unwrap_or(0);
        let first = manifests.is_empty();
        let described = describe(member.pid, &member.status, &answer["identity"]);
        manifests.push(Manifest { group: together.clone(), part: !first, ..described });
    }
    hold.check_time(most)?;
    if let Some(first) = manifests.first_mut().filter(|_| criu.is_some()) {
        // CRIU brings it back, with all that it began.
        *first =
            Manifest { pid, start: presence::start_of(pid).unwrap_or(0), pipes: criu::pipes(pid), ..first.clone() };
    }
    // The first one last: with it they are a checkpoint.
    for (manifest, folder) in manifests.iter().zip(&folders).rev() {
        folder.finish(manifest, true)?;
    }
    let processes: Vec<u32> = group.pids().collect();
    let mut answer = json!({ "ok": true, "bytes": bytes, "file": file, "processes": processes });
    match criu {
        None if leaves => drop(hold.go(show)?),
        _ => hold.keep()?,
    }
    if let Some(criu) = criu {
        let all = criu::tree(pid);
        let mut whole = || -> Result<(), Stop> {
            show.phase("process");
            criu.dump(pid, root)?;
            manifests[0].files = criu::written_files(pid)?;
            if leaves {
                show.phase("resuming");
                all.iter().for_each(|&pid| process::go_on(pid));
                group::resume(show, Group::of(processes[0])?)?;
            }
            manifests[0].images = Some(root.images()?);
            root.finish(&manifests[0], true)
        };
        if let Err(stop) = whole() {
            all.iter().for_each(|&pid| process::go_on(pid));
            if let Some(group) = Group::among(&processes)?.filter(Group::is_filed) {
                group::resume(show, group)?;
            }
            return Err(stop);
        }
        if !leaves {
            // Children first: nobody begins them anew.
            all.iter().rev().for_each(|&pid| process::end(pid));
        }
    }
    answer["freeze_ms"] = json!(since.elapsed().as_secs_f64() * 1e3);
    Ok((answer, group))
}

/// The parts of a checkpoint, by process.
fn parts(root: &Folder, manifest: &Manifest) -> Result<Vec<(u32, Folder, Manifest)>, Stop> {
    let mut all = Vec::new();
    for (at, &(pid, _)) in manifest.group.iter().enumerate() {
        let folder = if at == 0 { root.clone() } else { Folder::open(&root.of_process(pid))? };
        let own = if at == 0 { manifest.clone() } else { folder.manifest()? };
        if folder.snapshot()?.identity().to_string() != own.identity {
            return Err(trouble(8, format!("{}: its snapshot is another job's", folder.path().display())));
        }
        all.push((pid, folder, own));
    }
    Ok(all)
}

/// Brings a group back, into its processes or with them.
pub(super) fn restore(
    line: &Line,
    show: &Show,
    root: &Folder,
    manifest: &Manifest,
    to: &Value,
    here: bool,
) -> Result<(Value, Group), Stop> {
    let parts = parts(root, manifest)?;
    let pids: Vec<u32> = parts.iter().map(|(pid, ..)| *pid).collect();
    if here {
        if let Some(gone) = group::missing(&manifest.group) {
            let text = format!(
                "process {gone} is gone, which shares memory with the others: it cannot be put back; `resume` lets the others go on"
            );
            return Err(trouble(3, text));
        }
        criu_tree(manifest).into_iter().for_each(process::go_on);
        return put_back(line, show, &parts, to, manifest.images.is_some());
    }
    if manifest.images.is_none() {
        let text = format!("process {} is gone, and this is a snapshot of devices alone", manifest.pid);
        return Err(trouble(3, text));
    }
    check_files(manifest, line.has("--cut-files"))?;
    let criu = Criu::find()?;
    if let Some(who) = pids.iter().chain([&manifest.pid]).find_map(|&pid| process::who_has_the_number_of(pid)) {
        return Err(trouble(5, who));
    }
    show.phase("process");
    let damage = root.damage(manifest.images.as_deref().unwrap_or_default());
    if !damage.is_empty() {
        return Err(trouble(8, damage.join("; ")));
    }
    presence::make_folder(&manifest.sockets)
        .map_err(|error| super::io_trouble(&manifest.sockets, "making it", &error))?;
    criu.restore(manifest, root)?;
    let arrived = Instant::now();
    while pids.iter().any(|&pid| status(pid).is_err() && process::state(pid).is_some()) && arrived.elapsed() < ARRIVAL {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let all = criu::tree(manifest.pid);
    put_back(line, show, &parts, to, true).inspect_err(|_| all.iter().rev().for_each(|&pid| process::end(pid)))
}

fn criu_tree(manifest: &Manifest) -> Vec<u32> {
    criu::tree(manifest.pid).into_iter().chain(manifest.group.iter().map(|(pid, _)| *pid)).collect()
}

/// Puts what is on devices back into processes that are there: into those that let their devices go for it, or over what these
/// have on them now.
fn put_back(
    line: &Line,
    show: &Show,
    parts: &[(u32, Folder, Manifest)],
    to: &Value,
    whole: bool,
) -> Result<(Value, Group), Stop> {
    let pids: Vec<u32> = parts.iter().map(|(pid, ..)| *pid).collect();
    let group = Group::of(pids[0])?;
    if let Some(other) = group.pids().find(|pid| !pids.contains(pid)) {
        return Err(trouble(
            5,
            format!("process {other} shares memory with them now, of which the checkpoint has nothing"),
        ));
    }
    // Some may share nothing any more, or never did.
    let group = Group::among(&pids)?.unwrap_or(group);
    if group.pids().count() < pids.len() {
        return Err(trouble(3, format!("of {} not all answer", named(pids))));
    }
    let identity = |member: &Member| member.status["devices"][0]["snapshot"]["identity"].as_str().map(str::to_owned);
    let own = |pid: u32| parts.iter().find(|(other, ..)| *other == pid);
    let waits = group.members.iter().filter(|member| {
        own(member.pid).is_some_and(|(_, _, manifest)| identity(member).as_ref() == Some(&manifest.identity))
    });
    let waiting: Vec<u32> = waits.map(|member| member.pid).collect();
    show.phase("devices");
    let since = Instant::now();
    let mut bytes = 0;
    let request = |what: &str, folder: &Folder| json!({ "request": what, "folder": folder.path(), "name": SNAPSHOT });
    let done = match waiting.len() {
        0 if whole => {
            let text = format!("{}, of which this is a checkpoint, run: end them first", named(pids));
            return Err(trouble(5, text));
        }
        0 if !group.is_filed() => {
            may_rewind(line, &named(pids.clone()))?;
            let rewind = |member: &Member| {
                let folder = own(member.pid).map(|(_, folder, _)| folder);
                folder.map(|folder| request("rewind", folder)).into_iter().map(together).collect()
            };
            let hold = group.hold(show, None, false, &rewind)?;
            for (pid, folder, _) in parts {
                let mut look = together(request("rewind", folder));
                look["only_look"] = json!(true);
                hold.ask(show, *pid, &look)?;
            }
            let group = hold.group();
            let answers = hold.go(show)?;
            bytes += answers.iter().filter_map(|answer| answer["bytes"].as_u64()).sum::<u64>();
            group
        }
        count if count == parts.len() => {
            let hold = group.hold(show, None, true, &|_| Vec::new())?;
            for (pid, folder, _) in parts {
                let mut load = request("load", folder);
                load["to"] = to.clone();
                let answer = hold.ask(show, *pid, &load)?;
                bytes += answer["bytes"].as_u64().unwrap_or(0);
            }
            let group = hold.group();
            hold.go(show)?;
            group
        }
        _ => {
            let text = format!(
                "not all of {} wait for this checkpoint; `resume` lets those go on that stand still",
                named(pids)
            );
            return Err(trouble(5, text));
        }
    };
    Ok((
        json!({ "ok": true, "bytes": bytes, "freeze_ms": since.elapsed().as_secs_f64() * 1e3, "processes": pids }),
        done,
    ))
}

fn together(mut request: Value) -> Value {
    request["together"] = json!(true);
    request
}
