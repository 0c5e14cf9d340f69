//! A checkpoint: a folder with a snapshot of what is on a job's devices, and perhaps an image of its process.
//!
//! ```text
//! job.json           what it is; written last, so that a folder without it is no checkpoint
//! gpu.snapshot       what is on devices; others beside it are those that it is built on
//! process/           images of the process, as CRIU writes them
//! process-12/        the same for another process that was saved together with it, but for images, which are of both
//! ```

use super::{io_trouble, trouble};
use crate::Stop;
use hetgpu_checkpoint::{Digest, Snapshot, SystemDisk};
use serde_json::{Value, json};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The snapshot's name.
pub(crate) const SNAPSHOT: &str = "gpu";
/// What is written of a running job before it stops.
pub(crate) const BEFORE: &str = "before";
const MANIFEST: &str = "job.json";
const PROCESS: &str = "process";
/// Says that the job may run somewhere else, and where.
const LEAVING: &str = "leaving";
/// Of the manifest; another is not understood.
const VERSION: u64 = 1;
/// Bytes of the largest manifest.
const LARGEST: u64 = 16 << 20;
/// Bytes of an image that have a digest.
const PIECE: usize = 1 << 20;

/// Where a job may run whose snapshot is in a folder, if it was sent away and nobody knows whether it got there.
pub(crate) fn left_for(folder: &Path) -> Option<String> {
    fs::read_to_string(folder.join(LEAVING)).ok()
}

/// A checkpoint's folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// What a checkpoint says of itself.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Manifest {
    /// The process, and when it began, in ticks of that boot of its host.
    pub(crate) pid: u32,
    pub(crate) start: u64,
    pub(crate) boot: String,
    pub(crate) host: String,
    pub(crate) program: String,
    /// Where the process listened.
    pub(crate) sockets: PathBuf,
    /// Of the snapshot.
    pub(crate) identity: String,
    /// Its devices, as settings name them.
    pub(crate) devices: Vec<String>,
    /// The image of the process: files with sizes and digests; none where there is only the snapshot.
    pub(crate) images: Option<Vec<Image>>,
    /// Pipes that were its standard input, output and errors.
    pub(crate) pipes: Vec<(u32, String)>,
    /// Files that it had open for writing, and their sizes.
    pub(crate) files: Vec<(PathBuf, u64)>,
    /// Where it is one of several processes that were saved together: all of them, and when they began. What is on the devices of the
    /// first is in this folder, each of the others has one of its own in it.
    pub(crate) group: Vec<(u32, u64)>,
    /// It is one of these folders, and is nothing by itself.
    pub(crate) part: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Image {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) digest: String,
}

/// Which boot of the system this is.
pub(crate) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn own_user() -> u32 {
    fs::metadata("/proc/self").map_or(0, |about| about.uid())
}

impl Folder {
    /// A new one, for a process of this user, or of another where root asks. What is there already is never touched.
    pub(crate) fn make(path: &Path, user: u32) -> Result<Self, Stop> {
        let path = std::path::absolute(path).map_err(|error| io_trouble(path, "finding it", &error))?;
        if let Ok(mut entries) = fs::read_dir(&path)
            && entries.next().is_some()
        {
            return Err(trouble(2, format!("{}: it is not empty; another folder, please", path.display())));
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(|e| io_trouble(&path, "making it", &e))?;
        let about = fs::metadata(&path).map_err(|error| io_trouble(&path, "looking at it", &error))?;
        if user != own_user() && about.uid() != user {
            std::os::unix::fs::chown(&path, Some(user), None).map_err(|e| io_trouble(&path, "giving it away", &e))?;
        }
        Ok(Self { path })
    }

    /// One that is there.
    pub(crate) fn open(path: &Path) -> Result<Self, Stop> {
        let path = std::path::absolute(path).map_err(|error| io_trouble(path, "finding it", &error))?;
        let about = fs::symlink_metadata(&path).map_err(|error| io_trouble(&path, "opening it", &error))?;
        if !about.is_dir() {
            return Err(trouble(8, format!("{}: a checkpoint is a folder", path.display())));
        }
        if about.uid() != own_user() || about.mode() & 0o077 != 0 {
            let (owner, mode, user) = (about.uid(), about.mode() & 0o777, own_user());
            let text = format!(
                "{}: it belongs to user {owner} with mode {mode:03o}; this is user {user}, and a checkpoint is used only by its \
                 owner, with mode 700",
                path.display()
            );
            return Err(trouble(8, text));
        }
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn process(&self) -> PathBuf {
        self.path.join(PROCESS)
    }

    pub(crate) fn snapshot_path(&self) -> PathBuf {
        self.path.join(format!("{SNAPSHOT}.{}", hetgpu_checkpoint::EXTENSION))
    }

    pub(crate) fn snapshot(&self) -> Result<Snapshot, Stop> {
        Snapshot::open(&(Arc::new(SystemDisk) as _), &self.snapshot_path())
            .map_err(|error| trouble(8, error.to_string()))
    }

    /// Notes that the job may run somewhere else from here on.
    pub(crate) fn leaving(&self, to: &str) -> Result<(), Stop> {
        let path = self.path.join(LEAVING);
        let written = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
            file.write_all(to.as_bytes())?;
            file.sync_all()
        };
        written().map_err(|error| io_trouble(&path, "writing it", &error))
    }

    /// It does not.
    pub(crate) fn stays(&self) {
        let _ = fs::remove_file(self.path.join(LEAVING));
    }

    /// The folder of another process that is saved together with the first.
    pub(crate) fn of_process(&self, pid: u32) -> PathBuf {
        self.path.join(format!("process-{pid}"))
    }

    /// Removes what a checkpoint that did not come about has left, and nothing else.
    pub(crate) fn discard(&self) {
        let _ = fs::remove_dir_all(self.process());
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == MANIFEST
                || name == LEAVING
                || name.ends_with(hetgpu_checkpoint::EXTENSION)
                || name.ends_with(".part")
            {
                let _ = fs::remove_file(entry.path());
            }
        }
        let _ = fs::remove_dir(&self.path);
    }

    /// Puts a snapshot and those that it is built on into the folder, so that another can be built on it. Its name here.
    pub(crate) fn link(&self, base: &Path) -> Result<String, Stop> {
        let file =
            if base.is_dir() { base.join(format!("{SNAPSHOT}.{}", hetgpu_checkpoint::EXTENSION)) } else { base.into() };
        let refused = |error: hetgpu_checkpoint::Error| trouble(8, error.to_string());
        let snapshot = Snapshot::open(&(Arc::new(SystemDisk) as _), &file).map_err(refused)?;
        let name = |snapshot: &Snapshot| format!("base-{}", snapshot.identity().short());
        let mut next = Some(&snapshot);
        while let Some(one) = next {
            let to = self.path.join(format!("{}.{}", name(one), hetgpu_checkpoint::EXTENSION));
            // Another file system has no names for it.
            if fs::hard_link(one.path(), &to).is_err() {
                let copied = File::open(one.path()).and_then(|mut from| {
                    let mut into = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&to)?;
                    std::io::copy(&mut from, &mut into)?;
                    into.sync_all()
                });
                copied.map_err(|error| io_trouble(&to, "copying the snapshot below", &error))?;
            }
            next = one.base().map(Arc::as_ref);
        }
        Ok(name(&snapshot))
    }

    /// What the folder says of itself.
    pub(crate) fn manifest(&self) -> Result<Manifest, Stop> {
        let path = self.path.join(MANIFEST);
        let wrong =
            |what: &str| trouble(8, format!("{}: {what}; it is no checkpoint that can be used", path.display()));
        let mut text = String::new();
        let file = File::open(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => wrong("it is not there: the checkpoint was not finished"),
            _ => io_trouble(&path, "opening it", &error),
        })?;
        file.take(LARGEST).read_to_string(&mut text).map_err(|error| io_trouble(&path, "reading it", &error))?;
        let value: Value = serde_json::from_str(&text).map_err(|_| wrong("it is torn"))?;
        if value["hetgpu"] != json!(VERSION) {
            return Err(wrong("another version of hetGPU wrote it"));
        }
        Manifest::parse(&value).ok_or_else(|| wrong("something is missing in it"))
    }

    /// Makes the folder a checkpoint: from here on it is one, also after a failure of power if it is to last.
    pub(crate) fn finish(&self, manifest: &Manifest, lasts: bool) -> Result<(), Stop> {
        let (part, path) = (self.path.join(format!("{MANIFEST}.part")), self.path.join(MANIFEST));
        let written = || -> std::io::Result<()> {
            if lasts {
                self.sync(manifest.images.is_some())?;
            }
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
            writeln!(file, "{:#}", manifest.show())?;
            if lasts {
                file.sync_all()?;
            }
            fs::rename(&part, &path)?;
            if lasts { File::open(&self.path)?.sync_all() } else { Ok(()) }
        };
        written().map_err(|error| io_trouble(&path, "writing it", &error))
    }

    /// What lies there lasts from here on.
    fn sync(&self, with_process: bool) -> std::io::Result<()> {
        let all = |folder: &Path| -> std::io::Result<()> {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_type()?.is_file() {
                    File::open(entry.path())?.sync_all()?;
                }
            }
            File::open(folder)?.sync_all()
        };
        all(&self.path)?;
        if with_process { all(&self.process()) } else { Ok(()) }
    }

    /// The image of the process, as it lies there.
    pub(crate) fn images(&self) -> Result<Vec<Image>, Stop> {
        self.images_with(digest)
    }

    /// The same without digests: for what is sent at once, piece by piece with those of its own. By such a description nothing is restored
    /// from a folder: what it says is not what is found.
    pub(crate) fn unread_images(&self) -> Result<Vec<Image>, Stop> {
        self.images_with(|path| Ok((fs::metadata(path)?.len(), String::new())))
    }

    fn images_with(&self, look: impl Fn(&Path) -> std::io::Result<(u64, String)>) -> Result<Vec<Image>, Stop> {
        let folder = self.process();
        let mut all = Vec::new();
        let mut names: Vec<String> = fs::read_dir(&folder)
            .map_err(|error| io_trouble(&folder, "reading it", &error))?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".img"))
            .collect();
        names.sort();
        for name in names {
            let path = folder.join(&name);
            let (bytes, digest) = look(&path).map_err(|error| io_trouble(&path, "reading it", &error))?;
            all.push(Image { name, bytes, digest });
        }
        Ok(all)
    }

    /// What is wrong with the images of a process.
    pub(crate) fn damage(&self, images: &[Image]) -> Vec<String> {
        let check = |image: &Image| {
            let path = self.process().join(&image.name);
            match digest(&path) {
                Ok((bytes, digest)) if bytes == image.bytes && digest == image.digest => None,
                Ok(_) => Some(format!("{}: it is not what was written", path.display())),
                Err(error) => Some(format!("{}: {error}", path.display())),
            }
        };
        images.iter().filter_map(check).collect()
    }
}

/// Size and digest of a file: that of its pieces' digests, of which the last one is not full.
fn digest(path: &Path) -> std::io::Result<(u64, String)> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let pieces = bytes as usize / PIECE + 1;
    let mut all = vec![Digest::default(); pieces];
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(pieces);
    let part = |first: usize, out: &mut [Digest]| -> std::io::Result<()> {
        let mut piece = vec![0; PIECE];
        for (number, digest) in out.iter_mut().enumerate() {
            let at = ((first + number) * PIECE) as u64;
            let room = &mut piece[..PIECE.min((bytes - at) as usize)];
            file.read_exact_at(room, at)?;
            *digest = Digest::of(room);
        }
        Ok(())
    };
    let each = pieces.div_ceil(threads);
    std::thread::scope(|scope| {
        let part = &part;
        let work = |(number, out)| scope.spawn(move || part(number * each, out));
        let working: Vec<_> = all.chunks_mut(each).enumerate().map(work).collect();
        let ended = |worker: std::thread::ScopedJoinHandle<'_, std::io::Result<()>>| {
            worker.join().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()))
        };
        working.into_iter().try_for_each(ended)
    })?;
    let digests: Vec<u8> = all.iter().flat_map(|digest| digest.0).collect();
    Ok((bytes, Digest::of(&digests).to_string()))
}

impl Manifest {
    pub(crate) fn show(&self) -> Value {
        let image = |image: &Image| json!({ "name": image.name, "bytes": image.bytes, "digest": image.digest });
        json!({
            "hetgpu": VERSION,
            "pid": self.pid,
            "start": self.start,
            "boot": self.boot,
            "host": self.host,
            "program": self.program,
            "sockets": self.sockets,
            "snapshot": self.identity,
            "devices": self.devices,
            "process": self.images.as_ref().map(|images| images.iter().map(image).collect::<Vec<_>>()),
            "pipes": self.pipes,
            "files": self.files,
            "group": self.group,
            "part": self.part,
        })
    }

    pub(crate) fn parse(value: &Value) -> Option<Self> {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let image = |value: &Value| {
            let name = value["name"].as_str().filter(|name| !name.contains('/') && name.ends_with(".img"))?;
            let (bytes, digest) = (value["bytes"].as_u64()?, value["digest"].as_str()?.to_owned());
            Some(Image { name: name.to_owned(), bytes, digest })
        };
        let images = match &value["process"] {
            Value::Null => None,
            images => Some(images.as_array()?.iter().map(image).collect::<Option<_>>()?),
        };
        let pipe = |pipe: &Value| Some((u32::try_from(pipe[0].as_u64()?).ok()?, pipe[1].as_str()?.to_owned()));
        let file = |file: &Value| Some((file[0].as_str()?.into(), file[1].as_u64()?));
        let member = |member: &Value| Some((u32::try_from(member[0].as_u64()?).ok()?, member[1].as_u64()?));
        let name = |name: &Value| name.as_str().map(str::to_owned);
        Some(Self {
            pid: u32::try_from(value["pid"].as_u64()?).ok()?,
            start: value["start"].as_u64()?,
            boot: text("boot")?,
            host: text("host")?,
            program: text("program")?,
            sockets: text("sockets")?.into(),
            identity: text("snapshot")?,
            devices: value["devices"].as_array()?.iter().map(name).collect::<Option<_>>()?,
            images,
            pipes: value["pipes"].as_array()?.iter().map(pipe).collect::<Option<_>>()?,
            files: value["files"].as_array()?.iter().map(file).collect::<Option<_>>()?,
            group: value["group"].as_array().map_or(Some(Vec::new()), |all| all.iter().map(member).collect())?,
            part: value["part"] == json!(true),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("hetgpu-folder-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    fn manifest() -> Manifest {
        let image = Image { name: "core-7.img".into(), bytes: 3, digest: "abc".into() };
        Manifest {
            pid: 7,
            start: 12,
            boot: "b".into(),
            devices: vec!["cpu".into()],
            images: Some(vec![image]),
            pipes: vec![(1, "pipe:[5]".into())],
            files: vec![("/tmp/log".into(), 5)],
            group: vec![(7, 12), (9, 14)],
            ..Manifest::default()
        }
    }

    #[test]
    fn what_is_not_finished_is_no_checkpoint() {
        let path = scratch("finished");
        let folder = Folder::make(&path, own_user()).unwrap();
        assert_eq!(folder.manifest().unwrap_err().status, 8);
        fs::create_dir(folder.process()).unwrap();
        folder.finish(&manifest(), true).unwrap();
        assert_eq!(Folder::open(&path).unwrap().manifest().map_err(|stop| stop.text), Ok(manifest()));
        fs::write(path.join(MANIFEST), "{\"hetgpu\": 1").unwrap();
        assert!(folder.manifest().unwrap_err().text.contains("torn"));
        assert!(Folder::make(&path, own_user()).is_err(), "it is not empty");
        folder.discard();
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let path = scratch("others");
        Folder::make(&path, own_user()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(Folder::open(&path).unwrap_err().text.contains("mode 750"));
        fs::remove_dir(&path).unwrap();
    }

    #[test]
    fn a_changed_image_is_found() {
        let path = scratch("image");
        let folder = Folder::make(&path, own_user()).unwrap();
        fs::create_dir(folder.process()).unwrap();
        let file = folder.process().join("pages-1.img");
        fs::write(&file, vec![7; PIECE + 5]).unwrap();
        let images = folder.images().unwrap_or_default();
        assert_eq!((images.len(), images[0].bytes), (1, PIECE as u64 + 5));
        let unread = folder.unread_images().unwrap_or_default();
        assert_eq!((unread.len(), unread[0].bytes), (1, PIECE as u64 + 5));
        assert_eq!(folder.damage(&unread).len(), 1, "nobody restores by it");
        assert!(folder.damage(&images).is_empty());
        let mut other = vec![7; PIECE + 5];
        other[PIECE + 1] = 6;
        fs::write(&file, other).unwrap();
        assert_eq!(folder.damage(&images).len(), 1);
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn names_that_lead_elsewhere_are_no_images() {
        let mut value = manifest().show();
        value["process"][0]["name"] = json!("../x.img");
        assert_eq!(Manifest::parse(&value), None);
    }
}
