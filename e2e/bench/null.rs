//! The null broker: frames, the batch's CRC, one write to a file, an answer. No broker on this machine can do less.

use anyhow::{Context, Result, ensure};
use ottla_batch::Batch;
use ottla_e2e::raw::to_bytes;
use ottla_wire::m00_produce::{PartitionProduceResponse, TopicProduceResponse};
use ottla_wire::{Decoder, ProduceResponse, Request, RequestHeader, encode_response};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};

/// The argument with which this program is a null broker.
pub const ARGUMENT: &str = "null-broker";

/// A null broker in a process of its own.
pub struct Null {
    process: Child,
    address: String,
}

impl Null {
    /// Starts it.
    pub fn start() -> Result<Null> {
        let mut process = Command::new(std::env::current_exe()?).arg(ARGUMENT).stdout(Stdio::piped()).spawn()?;
        let mut address = String::new();
        BufReader::new(process.stdout.take().context("it says where it listens")?).read_line(&mut address)?;
        ensure!(!address.trim().is_empty(), "the null broker does not start");
        Ok(Null { process, address: address.trim().to_owned() })
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.address.clone()
    }
}

impl Drop for Null {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves until it is killed; a thread and a file for each connection.
pub fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || {
            if let Err(error) = serve_one(stream) {
                eprintln!("null broker: {error:#}");
            }
        });
    }
    Ok(())
}

fn serve_one(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let folder = tempfile::tempdir_in(std::env::current_exe()?.parent().context("a folder")?)?;
    let file = File::create(folder.path().join("log"))?;
    let (mut at, mut offset, mut length) = (0, 0, [0; 4]);
    while stream.read_exact(&mut length).is_ok() {
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length))?];
        stream.read_exact(&mut frame)?;
        let mut decoder = Decoder::new(frame.into());
        let header = RequestHeader::decode(&mut decoder)?;
        let Request::Produce(request) = Request::decode(&header, decoder)? else { continue };
        let topic = request.topic_data.into_iter().next().context("a topic")?;
        let partition = topic.partition_data.into_iter().next().context("a partition")?;
        let records = partition.records.context("records")?;
        let batch = Batch::parse(records.as_bytes().context("records in one piece")?)?;
        file.write_all_at(batch.bytes(), at)?;
        at += batch.bytes().len() as u64;
        let answered = PartitionProduceResponse { index: partition.index, base_offset: offset, ..Default::default() };
        offset += batch.header().next_offset();
        let answered =
            TopicProduceResponse { name: topic.name, partition_responses: vec![answered], ..Default::default() };
        let answer = ProduceResponse { responses: vec![answered], ..Default::default() };
        let frame = encode_response(header.api_version, header.correlation_id, &answer).ok().context("too large")?;
        stream.write_all(&to_bytes(&frame))?;
    }
    Ok(())
}
