//! The null broker: frames, the batch's CRC, one write to a file, an answer. No broker on this machine can do less.
//! Under TLS it is what rustls' own stream makes of that, with a copy or two more than a broker needs.

use anyhow::{Context, Result, anyhow, ensure};
use ottla_batch::Batch;
use ottla_e2e::raw::to_bytes;
use ottla_wire::m00_produce::{PartitionProduceResponse, TopicProduceResponse};
use ottla_wire::{Decoder, ProduceResponse, Request, RequestHeader, encode_response};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::broker::cpu_time;
use crate::secured::SCHEME;

/// The argument with which this program is a null broker.
pub const ARGUMENT: &str = "null-broker";
/// The same under TLS.
pub const SECURE_ARGUMENT: &str = "null-broker-tls";

/// A null broker in a process of its own.
pub struct Null {
    process: Child,
    address: String,
}

impl Null {
    /// Starts it, under TLS or not.
    pub fn start(secure: bool) -> Result<Null> {
        let argument = if secure { SECURE_ARGUMENT } else { ARGUMENT };
        let mut process = Command::new(std::env::current_exe()?).arg(argument).stdout(Stdio::piped()).spawn()?;
        let mut address = String::new();
        BufReader::new(process.stdout.take().context("it says where it listens")?).read_line(&mut address)?;
        ensure!(!address.trim().is_empty(), "the null broker does not start");
        Ok(Null { process, address: address.trim().to_owned() })
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// The processor time that it has used.
    pub fn cpu_time(&self) -> Result<Duration> {
        cpu_time(&self.process.id().to_string())
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
pub fn serve(secure: bool) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let config = if secure { Some(config()?) } else { None };
    println!("{}{}", if secure { SCHEME } else { "" }, listener.local_addr()?);
    for stream in listener.incoming() {
        let stream = stream?;
        stream.set_nodelay(true)?;
        let config = config.clone();
        std::thread::spawn(move || {
            let served = match config {
                Some(config) => ServerConnection::new(config)
                    .map_err(Into::into)
                    .and_then(|session| serve_one(StreamOwned::new(session, stream))),
                None => serve_one(stream),
            };
            if let Err(error) = served {
                eprintln!("null broker: {error:#}");
            }
        });
    }
    Ok(())
}

/// TLS with a certificate of the same kind as Ottla's own authority issues.
fn config() -> Result<Arc<ServerConfig>> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).map_err(|error| anyhow!("{error}"))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
    Ok(Arc::new(builder.with_single_cert(vec![cert.der().clone()], key)?))
}

fn serve_one(mut stream: impl Read + Write) -> Result<()> {
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
