//! Inputs that are made by rule, so that only hashes of outputs must be kept.

/// Numbers of a linear congruence.
struct Numbers(u64);

impl Numbers {
    fn new() -> Self {
        Self(12345)
    }

    fn next(&mut self) -> u64 {
        self.0 = (1_103_515_245 * self.0 + 12345) & 0x7fff_ffff;
        self.0
    }

    fn byte(&mut self) -> u8 {
        ((self.next() >> 16) & 0xff) as u8
    }

    fn word(&mut self, out: &mut Vec<u8>) {
        const WORDS: &str =
            "the of and to in layer image file store chunk block bytes match hash token gzip";
        let number = self.next();
        let word = WORDS.split(' ').nth(((number >> 16) % 16) as usize).unwrap();
        out.extend_from_slice(word.as_bytes());
        out.push(if (number >> 20).is_multiple_of(8) { b'\n' } else { b' ' });
    }
}

fn noise(length: usize) -> Vec<u8> {
    let mut numbers = Numbers::new();
    (0..length).map(|_| numbers.byte()).collect()
}

fn words(length: usize) -> Vec<u8> {
    let (mut numbers, mut out) = (Numbers::new(), Vec::new());
    while out.len() < length {
        numbers.word(&mut out);
    }
    out.truncate(length);
    out
}

fn squares(length: usize) -> Vec<u8> {
    (0..length as u64).map(|i| ((i * i / 8) & 0xff) as u8).collect()
}

fn lines(length: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for number in 0.. {
        if out.len() >= length {
            break;
        }
        out.extend_from_slice(format!("{number}\n").as_bytes());
    }
    out.truncate(length);
    out
}

fn cycle(part: &[u8], length: usize) -> Vec<u8> {
    part.iter().copied().cycle().take(length).collect()
}

fn pages(length: usize) -> Vec<u8> {
    const PAGE: usize = 4096;
    let (noise, words, mut out) = (noise(length), words(length), Vec::<u8>::new());
    for page in 0..length.div_ceil(PAGE) {
        let turn = page / 4 * PAGE;
        let next = |source: &[u8]| {
            let end = source.len().min(turn + PAGE);
            source[turn..end].to_vec()
        };
        let bytes = match page % 4 {
            0 => vec![0; PAGE],
            1 => next(&noise),
            2 => next(&words),
            _ if page == 3 => squares(PAGE),
            _ => out[(page - 6) * PAGE..(page - 5) * PAGE].to_vec(),
        };
        out.extend_from_slice(&bytes);
    }
    out.truncate(length);
    out
}

/// Parts of a few words, zeros, and letters without sense; matches end where
/// bytes that lie ahead were remembered already.
fn parts(length: usize) -> Vec<u8> {
    let mut numbers = Numbers(1);
    let mut below = |limit: u64| ((numbers.next() >> 16) % limit) as usize;
    let letters = |count: usize, below: &mut dyn FnMut(u64) -> usize| -> Vec<u8> {
        (0..count).map(|_| 64 + (below(64) as u64 & 0x3f) as u8).collect()
    };
    let (words, mut out) = (letters(256, &mut below), Vec::new());
    while out.len() < length {
        let start = below(192);
        let count = 4 + below(40);
        out.extend_from_slice(&words[start..start + count]);
        out.resize(out.len() + below(40), 0);
        if below(4) == 0 {
            let count = below(3000);
            out.extend(letters(count, &mut below));
        }
    }
    out.truncate(length);
    out
}

/// The input of that name: a kind and a length, for `C` a period before it.
pub(crate) fn named(name: &str) -> Vec<u8> {
    let (kind, numbers) = name.trim_end_matches(')').split_once('(').unwrap();
    let numbers: Vec<usize> = numbers.split(", ").map(|number| number.parse().unwrap()).collect();
    let length = *numbers.last().unwrap();
    match kind {
        "Z" => vec![0; length],
        "A" => cycle(b"abcdefghij", length),
        "Q" => squares(length),
        "R" => noise(length),
        "C" => cycle(&noise(numbers[0]), length),
        "T" => words(length),
        "L" => lines(length),
        "M" => pages(length),
        "W" => parts(length),
        "mixed" => mixed(length),
        _ => panic!("no generator {kind}"),
    }
}

/// Something of everything, `length` bytes.
pub(crate) fn mixed(length: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut size = 100;
    while out.len() < length {
        for kind in ["M", "T", "Z", "R", "L", "Q", "A"] {
            out.extend(named(&format!("{kind}({size})")));
        }
        out.extend(named(&format!("C({size}, {})", 3 * size)));
        size = size * 3 / 2;
    }
    out.truncate(length);
    out
}
