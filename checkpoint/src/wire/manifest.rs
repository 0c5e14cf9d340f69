//! Whose snapshot it is.

use crate::codec::wire;

wire! {
    /// Whose snapshot it is, and from what device.
    pub struct Manifest {
        /// The program that wrote it, with its version.
        pub written_by: String,
        /// Seconds since 1970.
        pub written_at: u64,
        /// Name of the host.
        pub host: String,
        /// Number of the process there.
        pub process: u32,
        /// The program's words.
        pub program: Vec<String>,
        /// What a person called the job; empty if nothing.
        pub job: String,
        /// The devices, as the program numbers them.
        pub devices: Vec<DeviceNote>,
        /// Settings that were not as they are without being set: name and value.
        pub settings: Vec<(String, String)>,
        /// The next number that names nothing else.
        pub next_id: u64,
        /// How long the job stood still, in microseconds; 0 if that is not known.
        pub frozen: u64,
    }

    /// What a program was told about a device. Another that takes the job over has at least this.
    pub struct DeviceNote {
        /// As settings name it.
        pub kind: String,
        /// As programs see it.
        pub name: String,
        /// Its identity.
        pub uuid: [u8; 16],
        /// Compute capability, major and minor.
        pub compute: [u32; 2],
        /// Bytes of memory.
        pub memory: u64,
        /// Bytes of it in use by the job.
        pub used: u64,
        /// Multiprocessors.
        pub multiprocessors: u32,
    }
}
