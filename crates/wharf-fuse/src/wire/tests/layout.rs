//! Sizes, offsets and numbers against the system's `<linux/fuse.h>`, by its own compiler.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::wire::abi::{Layout, layouts};
use crate::wire::{InitFlags, Opcode};

/// What `uring` relies on. Its structs are public, and so not in the list of the others.
const RING_RULES: [&str; 8] = [
    "sizeof(struct fuse_uring_req_header) == 288",
    "offsetof(struct fuse_uring_req_header, op_in) == 128",
    "offsetof(struct fuse_uring_req_header, ring_ent_in_out) == 256",
    "offsetof(struct fuse_uring_ent_in_out, commit_id) == 8",
    "offsetof(struct fuse_uring_ent_in_out, payload_sz) == 16",
    "sizeof(struct fuse_uring_cmd_req) == 24",
    "offsetof(struct fuse_uring_cmd_req, commit_id) == 8",
    "offsetof(struct fuse_uring_cmd_req, qid) == 16",
];

/// Put as the first minor version of what no header has.
const OURS: u32 = 9999;

#[test]
fn structs_and_numbers_are_those_of_the_system_header() {
    let mut program = String::from("#include <stddef.h>\n#include <linux/fuse.h>\n");
    layouts().for_each(|layout| check_struct(&mut program, layout));
    Opcode::ALL.iter().for_each(|opcode| check_opcode(&mut program, *opcode));
    InitFlags::all().iter_names().for_each(|(name, flag)| check_flag(&mut program, name, flag));
    RING_RULES.iter().for_each(|rule| require(&mut program, 42, rule));

    let compiler = Command::new("cc")
        .args(["-std=c11", "-fsyntax-only", "-x", "c", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut compiler = compiler.expect("this test needs a C compiler called cc (Debian: gcc)");
    let mut input = compiler.stdin.take().expect("it was asked for");
    input.write_all(program.as_bytes()).expect("the compiler reads what it is given");
    drop(input);
    let output = compiler.wait_with_output().expect("the compiler ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !said.contains("linux/fuse.h: No such file"),
        "this test needs the kernel's headers (Debian: linux-libc-dev)"
    );
    assert!(output.status.success(), "the header differs:\n{said}");
}

fn check_struct(program: &mut String, layout: &Layout) {
    let Layout { name, bytes, since, fields } = layout;
    if *since == OURS {
        return;
    }
    require(program, *since, &format!("sizeof(struct {name}) == {bytes}"));
    for (field, offset, field_since) in *fields {
        let field = field.trim_start_matches("r#");
        let rule = format!("offsetof(struct {name}, {field}) == {offset}");
        require(program, (*since).max(*field_since), &rule);
    }
}

fn check_opcode(program: &mut String, opcode: Opcode) {
    let since = match opcode {
        Opcode::CopyFileRange64 => 45,
        Opcode::Statx => 39,
        Opcode::Tmpfile => 37,
        Opcode::Syncfs => 34,
        _ => 0,
    };
    require(program, since, &format!("FUSE_{} == {}", opcode.name(), opcode as u32));
}

/// Flags are macros, so the header can be asked which it has.
fn check_flag(program: &mut String, name: &str, flag: InitFlags) {
    let bits = flag.bits();
    writeln!(program, "#ifdef FUSE_{name}").expect("strings grow");
    // The header shifts a signed one up to bit 31.
    require(program, 0, &format!("(FUSE_{name} & 0xffffffffffffffffULL) == {bits}ULL"));
    program.push_str("#endif\n");
}

fn require(program: &mut String, since: u32, rule: &str) {
    let text = rule.replace('"', "'");
    writeln!(
        program,
        "#if FUSE_KERNEL_MINOR_VERSION >= {since}\n_Static_assert({rule}, \"{text}\");\n#endif"
    )
    .expect("strings grow");
}
