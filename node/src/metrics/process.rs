//! What the system says of this process. Where it says nothing, nothing is told.

use std::fs;

use super::{Sheet, names};

/// The unit of times in /proc, the same on every Linux that is in use.
const TICKS_PER_SECOND: f64 = 100.0;

/// Tells of memory, processor time and open files.
pub fn tell_process(sheet: &mut Sheet) {
    if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_bytes) {
        sheet.set(&names::PROCESS_MEMORY, &[], bytes as f64);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        // One of them is the folder itself.
        sheet.set(&names::PROCESS_FDS, &[], files.count().saturating_sub(1) as f64);
    }
    if let Some(seconds) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_seconds) {
        sheet.count_seconds(&names::PROCESS_CPU, &[], seconds);
    }
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// The program's name, in parentheses, may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(|field| field.parse::<u64>().ok());
    let (user, system) = (times.next()??, times.next()??);
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_processor_time_are_read() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2 * 1024 * 1024));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
        let stat = "7 (a) b) S 1 7 7 0 -1 0 1 0 0 0 250 50 0 0 20 0 4 0 1 1";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("7 (x) S 1"), None);
    }
}
