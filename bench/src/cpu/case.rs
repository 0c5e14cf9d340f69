//! What a kernel of the suite is: its data, its launches, and what comes out.

use std::time::{SystemTime, UNIX_EPOCH};

/// How large the problems are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Size {
    /// A few blocks: shows that everything works.
    Tiny,
    /// For devices that interpret.
    Small,
    /// What is measured and published.
    Normal,
}

impl Size {
    pub(crate) const ALL: [(&'static str, Self); 3] =
        [("tiny", Self::Tiny), ("small", Self::Small), ("normal", Self::Normal)];

    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, size)| *size).ok_or_else(|| format!("there is no size `{name}`; there are tiny, small, normal"))
    }

    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, size)| *size == self).map_or("", |(name, _)| name)
    }

    pub(crate) fn pick<T>(self, tiny: T, small: T, normal: T) -> T {
        match self {
            Self::Tiny => tiny,
            Self::Small => small,
            Self::Normal => normal,
        }
    }
}

/// A kernel of the suite: `bench/kernels/NAME.cu` and `.cl`.
pub(crate) struct Kernel {
    pub(crate) name: &'static str,
    /// Build options of the forms that the OpenCL source has. The fastest that a peer builds is measured.
    pub(crate) forms: &'static [&'static str],
    pub(crate) case: fn(Size) -> Case,
}

/// What a launch does with a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    Read,
    Write,
    /// Read and written: its contents are set again before the launch whose results are checked.
    Update,
}

pub(crate) struct Buffer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) access: Access,
}

#[derive(Clone, Copy)]
pub(crate) enum Argument {
    Buffer(usize),
    U32(u32),
    F32(f32),
}

pub(crate) struct Step {
    pub(crate) function: &'static str,
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) arguments: Vec<Argument>,
    /// Its blocks may wait for each other.
    pub(crate) cooperative: bool,
}

/// Data and launches of one kernel in one size; the same wherever it is made.
pub(crate) struct Case {
    pub(crate) buffers: Vec<Buffer>,
    /// Executed in order; their time is measured together.
    pub(crate) steps: Vec<Step>,
    /// Computes what the outputs must be.
    pub(crate) reference: Box<dyn FnOnce() -> Outcome>,
}

impl Case {
    pub(crate) fn new(reference: impl FnOnce() -> Outcome + 'static) -> Self {
        Self { buffers: Vec::new(), steps: Vec::new(), reference: Box::new(reference) }
    }

    pub(crate) fn read(self, bytes: Vec<u8>) -> Self {
        self.with(bytes, Access::Read)
    }

    pub(crate) fn update(self, bytes: Vec<u8>) -> Self {
        self.with(bytes, Access::Update)
    }

    /// A buffer for results, so many elements of four bytes.
    pub(crate) fn write(self, elements: usize) -> Self {
        // As floats and as integers, these are not what any kernel computes.
        self.with(vec![0xcc; elements * 4], Access::Write)
    }

    fn with(mut self, bytes: Vec<u8>, access: Access) -> Self {
        self.buffers.push(Buffer { bytes, access });
        self
    }

    pub(crate) fn step(
        mut self,
        function: &'static str,
        grid: [u32; 3],
        block: [u32; 3],
        arguments: &[Argument],
    ) -> Self {
        self.steps.push(Step { function, grid, block, arguments: arguments.to_vec(), cooperative: false });
        self
    }

    /// Indices of the buffers that hold results.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = usize> {
        self.buffers.iter().enumerate().filter(|(_, buffer)| buffer.access != Access::Read).map(|(index, _)| index)
    }

    /// Bytes that have to come from memory and go there.
    pub(crate) fn traffic(&self) -> f64 {
        let passes = |access| if access == Access::Update { 2.0 } else { 1.0 };
        self.buffers.iter().map(|buffer| passes(buffer.access) * buffer.bytes.len() as f64).sum()
    }
}

/// What the reference found.
pub(crate) struct Outcome {
    /// One for each output, in their order.
    pub(crate) expected: Vec<Expected>,
    /// Floating-point operations that the source asks for; a fused multiplication and addition is two.
    pub(crate) flops: f64,
    /// Integer operations likewise, where they are what takes the time.
    pub(crate) integer_ops: f64,
}

impl Outcome {
    pub(crate) fn new(expected: Vec<Expected>) -> Self {
        Self { expected, flops: 0.0, integer_ops: 0.0 }
    }

    pub(crate) fn flops(self, flops: f64) -> Self {
        Self { flops, ..self }
    }

    pub(crate) fn integer_ops(self, integer_ops: f64) -> Self {
        Self { integer_ops, ..self }
    }
}

/// What an output must hold.
pub(crate) enum Expected {
    /// Every bit.
    Exact(Vec<u32>),
    /// Within `absolute + relative * |value|`.
    Near { values: Vec<f32>, relative: f64, absolute: f64 },
}

impl Expected {
    pub(crate) fn near(values: impl IntoIterator<Item = f64>, relative: f64, absolute: f64) -> Self {
        Self::Near { values: values.into_iter().map(|value| value as f32).collect(), relative, absolute }
    }

    pub(crate) fn bytes(&self) -> usize {
        4 * match self {
            Self::Exact(values) => values.len(),
            Self::Near { values, .. } => values.len(),
        }
    }

    pub(crate) fn tolerance(&self) -> String {
        match self {
            Self::Exact(_) => "exact".into(),
            Self::Near { relative, absolute, .. } => format!("{absolute:e} + {relative:e} |x|"),
        }
    }

    /// The largest deviation in units of the tolerance, or where and how the first value is wrong.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<f64, String> {
        if bytes.len() != self.bytes() {
            return Err(format!("{} bytes of results instead of {}", bytes.len(), self.bytes()));
        }
        match self {
            Self::Exact(values) => {
                let mut pairs = u32s(bytes).zip(values).enumerate();
                match pairs.find(|(_, (got, want))| got != *want) {
                    Some((at, (got, want))) => Err(format!("element {at} is {got} and not {want}")),
                    None => Ok(0.0),
                }
            }
            Self::Near { values, relative, absolute } => {
                compare(f32s(bytes), values.iter().copied(), *relative, *absolute)
            }
        }
    }

    /// The same between two that both passed the check: each may deviate to its own side.
    pub(crate) fn agree(&self, one: &[u8], other: &[u8]) -> Result<f64, String> {
        match self {
            Self::Exact(_) if one == other => Ok(0.0),
            Self::Exact(_) => Err("the results differ".into()),
            Self::Near { relative, absolute, .. } => compare(f32s(one), f32s(other), 2.0 * relative, 2.0 * absolute),
        }
    }
}

fn compare(
    got: impl Iterator<Item = f32>,
    want: impl Iterator<Item = f32>,
    relative: f64,
    absolute: f64,
) -> Result<f64, String> {
    let mut worst = 0.0f64;
    for (at, (got, want)) in got.zip(want).enumerate() {
        let deviation = f64::from(got) - f64::from(want);
        let share = deviation.abs() / (absolute + relative * f64::from(want).abs());
        // A NaN is not within any tolerance.
        if share.is_nan() || share > 1.0 {
            return Err(format!("element {at} is {got} and not {want}"));
        }
        worst = worst.max(share);
    }
    Ok(worst)
}

pub(crate) fn u32s(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
}

pub(crate) fn f32s(bytes: &[u8]) -> impl Iterator<Item = f32> {
    u32s(bytes).map(f32::from_bits)
}

pub(crate) fn of_f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

pub(crate) fn of_u32s(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

/// Random data: SplitMix64 from a fixed start, so that every process has the same.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn u32(&mut self) -> u32 {
        (self.u64() >> 32) as u32
    }

    /// Below `bound`.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.u32()) * u64::from(bound)) >> 32) as u32
    }

    /// At least `low`, below `high`.
    pub(crate) fn f32(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * ((self.u32() >> 8) as f32 / (1u32 << 24) as f32)
    }

    pub(crate) fn f32s(&mut self, count: usize, low: f32, high: f32) -> Vec<f32> {
        (0..count).map(|_| self.f32(low, high)).collect()
    }

    pub(crate) fn u32s(&mut self, count: usize) -> Vec<u32> {
        (0..count).map(|_| self.u32()).collect()
    }
}

/// Today in UTC, as year, month and day.
pub(crate) fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil(seconds / 86_400);
    format!("{year}-{month:02}-{day:02}")
}

/// The Gregorian date so many days after 1970-01-01.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(59), (1970, 3, 1));
        // 30 years with 7 leap days, then the leap day of 2000.
        assert_eq!(civil(30 * 365 + 7 + 31 + 28), (2000, 2, 29));
        assert_eq!(civil(30 * 365 + 7 + 366), (2001, 1, 1));
    }

    #[test]
    fn deviations_are_found() {
        let near = Expected::near([1.0, -2.0], 0.01, 0.0);
        assert!(near.check(&of_f32s(&[1.009, -2.0])).unwrap() > 0.8);
        assert!(near.check(&of_f32s(&[1.0, -2.03])).unwrap_err().contains("element 1"));
        assert!(near.check(&of_f32s(&[f32::NAN, -2.0])).unwrap_err().contains("element 0"));
        assert!(near.check(&of_f32s(&[1.0])).unwrap_err().contains("4 bytes"));
        assert!(near.agree(&of_f32s(&[1.009, -2.0]), &of_f32s(&[0.991, -2.0])).is_ok());
        assert!(near.agree(&of_f32s(&[1.03, -2.0]), &of_f32s(&[1.0, -2.0])).is_err());
        let exact = Expected::Exact(vec![7, 8]);
        assert_eq!(exact.check(&of_u32s(&[7, 8])), Ok(0.0));
        assert!(exact.check(&of_u32s(&[7, 9])).unwrap_err().contains("element 1"));
        assert!(exact.agree(&of_u32s(&[7, 8]), &of_u32s(&[7, 9])).is_err());
    }

    #[test]
    fn random_numbers_lie_where_they_should() {
        let mut random = Random::new(1);
        let values: Vec<f32> = random.f32s(1000, -2.0, 3.0);
        assert!(values.iter().all(|value| (-2.0..3.0).contains(value)));
        assert!(values.iter().any(|value| *value < -1.5) && values.iter().any(|value| *value > 2.5));
        let small: Vec<u32> = (0..1000).map(|_| random.below(7)).collect();
        assert!((0..7).all(|value| small.contains(&value)) && small.iter().all(|value| *value < 7));
    }
}
