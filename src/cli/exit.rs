//! Exit codes: a public contract.

use std::process::ExitCode;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Failed,
    Usage,
    SomeFailed,
    NoStore,
    Locked,
    NotFound,
    Damage,
    Unsupported,
    NoEngine,
    ReaderGone,
}

/// The part of the contract that this version can give, for `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
    0  done
    1  failed
    2  usage
    3  finished, but some items failed
   10  no store there
   11  locked: another process collects garbage
   12  reference not found
   13  damage found
   14  format not supported
   15  no engine reachable
  130  interrupted (143: terminated)
  141  the reader of the output went away";

impl Exit {
    fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::SomeFailed => 3,
            Self::NoStore => 10,
            Self::Locked => 11,
            Self::NotFound => 12,
            Self::Damage => 13,
            Self::Unsupported => 14,
            Self::NoEngine => 15,
            Self::ReaderGone => 141,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}
