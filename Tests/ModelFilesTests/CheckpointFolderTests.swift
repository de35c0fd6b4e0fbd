import TestSupport
import Testing

@testable import ModelFiles

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// The files of a step's checkpoint, which differ from step to step.
private func files(_ step: Int, elementCount: Int = 5) -> [CheckpointFolder.File] {
    func tensor(_ name: String, _ byte: Int) -> SafetensorsFile.TensorToWrite {
        .init(
            name: name, elementType: .uint8, shape: [elementCount],
            bytes: [UInt8](repeating: UInt8(truncatingIfNeeded: byte), count: elementCount))
    }
    return [
        .init("model.safetensors", .tensors([tensor("weight", step)], metadata: [("format", "pt")])),
        .init("optimizer.safetensors", .tensors([tensor("mean", step + 1), tensor("variance", step + 2)])),
        .init("state.json", .bytes(Array("{\"seed\":\(step)}".utf8))),
    ]
}

/// What the checkpoint of a step holds, for comparison.
private func seed(_ checkpoint: CheckpointFolder.Checkpoint?) throws -> Int64? {
    try checkpoint?.json("state.json")["seed"]?.integerValue
}

private func contents(_ path: String) throws -> [UInt8] {
    try MappedFile(reading: path).withUnsafeBytes { Array($0) }
}

@Suite struct Checkpoints {
    @Test func `are read as they were written`() throws {
        try withTemporaryFolder { base in
            let folder = CheckpointFolder("\(base)/run/checkpoints")
            #expect(try folder.newestReadable().checkpoint == nil)
            #expect(try folder.steps() == [])
            let path = try folder.write(step: 1_000, files(1_000))
            #expect(path == "\(base)/run/checkpoints/step-00001000")
            #expect(
                names(in: path) == ["manifest.json", "model.safetensors", "optimizer.safetensors", "state.json"])
            let checkpoint = try #require(try folder.newestReadable().checkpoint)
            #expect(checkpoint.step == 1_000)
            #expect(checkpoint.path == path)
            #expect(try seed(checkpoint) == 1_000)
            let model = try checkpoint.tensors("model.safetensors")
            #expect(model.tensor(named: "weight")?.data.withUnsafeBytes { Array($0) } == [232, 232, 232, 232, 232])
            #expect(model.metadataValue("format") == "pt")
            #expect(try checkpoint.tensors("optimizer.safetensors").tensors.count == 2)
            #expect(throws: CheckpointError.missingFile(path: "\(path)/absent")) { try checkpoint.file("absent") }
        }
    }

    @Test func `the newest are kept, by number`() throws {
        try withTemporaryFolder { base in
            let folder = CheckpointFolder("\(base)/checkpoints", keeping: 3)
            for step in [0, 7, 99_999_999, 100_000_000] { try folder.write(step: step, files(step)) }
            #expect(try folder.steps() == [100_000_000, 99_999_999, 7])
            #expect(try seed(folder.newestReadable().checkpoint) == 100_000_000)
            // What is not ours stays.
            mkdir("\(base)/checkpoints/step-best", 0o700)
            mkdir("\(base)/checkpoints/notes.partial", 0o700)
            try CheckpointFolder("\(base)/checkpoints", keeping: 0).write(step: 100_000_001, files(1))
            #expect(names(in: "\(base)/checkpoints") == ["notes.partial", "step-100000001", "step-best"])
        }
    }

    @Test func `the same files have the same bytes`() throws {
        try withTemporaryFolder { base in
            let paths = try ["a", "b"].map { try CheckpointFolder("\(base)/\($0)").write(step: 5, files(5)) }
            for name in names(in: paths[0]) {
                #expect(try contents("\(paths[0])/\(name)") == contents("\(paths[1])/\(name)"))
            }
        }
    }

    @Test func `a step can be written again`() throws {
        try withTemporaryFolder { base in
            let folder = CheckpointFolder("\(base)/checkpoints")
            try folder.write(step: 5, files(5))
            try folder.write(step: 5, files(6))
            #expect(try seed(folder.newestReadable().checkpoint) == 6)
            #expect(names(in: "\(base)/checkpoints") == ["step-00000005"])
        }
    }

    // MARK: - Death at any moment

    @Test(arguments: 0..<6)
    func `a process killed between two phases leaves the last good one`(phase: Int) throws {
        try withTemporaryFolder { base in
            let path = "\(base)/checkpoints"
            let folder = CheckpointFolder(path, keeping: 1)
            try folder.write(step: 10, files(10))
            // As `write` does, up to the phase.
            let partial = try folder.begin(step: 20)
            if phase >= 1 { _ = try folder.write([files(20)[0]], into: partial) }
            var entries: [JSONValue] = []
            if phase >= 2 { entries = try folder.write(files(20), into: partial) }
            if phase >= 3 { try folder.writeManifest(step: 20, entries, into: partial) }
            if phase >= 4 { try folder.publish(step: 20) }
            if phase >= 5 { folder.removeOld(standing: 20) }
            let (checkpoint, skipped) = try folder.newestReadable()
            #expect(try seed(checkpoint) == (phase >= 4 ? 20 : 10))
            #expect(skipped == [])
            #expect(names(in: path).contains("step-00000010") == (phase < 5))
            // The next process clears up.
            try folder.write(step: 30, files(30))
            #expect(names(in: path) == ["step-00000030"])
            #expect(try seed(folder.newestReadable().checkpoint) == 30)
        }
    }

    @Test func `a removal that was interrupted leaves no half of a checkpoint`() throws {
        try withTemporaryFolder { base in
            let path = "\(base)/checkpoints"
            let folder = CheckpointFolder(path)
            for step in [1, 2, 3] { try folder.write(step: step, files(step)) }
            // As `removeOld` does, up to the middle; and the replacement of a step.
            rename("\(path)/step-00000002", "\(path)/step-00000002.partial")
            unlink("\(path)/step-00000002.partial/manifest.json")
            mkdir("\(path)/step-00000003.replaced.partial", 0o700)
            #expect(try folder.steps() == [3])
            try folder.write(step: 4, files(4))
            #expect(names(in: path) == ["step-00000003", "step-00000004"])
        }
    }

    // MARK: - Damage

    @Test func `a file cut short anywhere sends reading to the one before`() throws {
        try withTemporaryFolder { base in
            let folder = CheckpointFolder("\(base)/checkpoints")
            try folder.write(step: 1, files(1))
            let path = try folder.write(step: 2, files(2))
            for name in names(in: path) {
                let file = "\(path)/\(name)"
                let whole = try contents(file)
                for count in 0..<whole.count {
                    try write(Array(whole[..<count]), to: file)
                    let (checkpoint, skipped) = try folder.newestReadable()
                    #expect(checkpoint?.step == 1)
                    #expect(skipped.count == 1)
                    if name != "manifest.json" {
                        #expect(skipped == [.wrongByteCount(path: file, expected: whole.count, found: count)])
                    } else {
                        guard case .malformedManifest(file, _)? = skipped.first else {
                            Issue.record("\(skipped)")
                            continue
                        }
                    }
                }
                unlink(file)
                #expect(try folder.newestReadable().skipped == [.missingFile(path: file)])
                try write(whole, to: file)
                #expect(try folder.newestReadable().checkpoint?.step == 2)
            }
        }
    }

    @Test func `any changed byte is found`() throws {
        try withTemporaryFolder { base in
            let folder = CheckpointFolder("\(base)/checkpoints")
            let path = try folder.write(step: 2, files(2))
            var generator = SeededGenerator(seed: 11)
            for name in names(in: path) {
                let file = "\(path)/\(name)"
                let whole = try contents(file)
                for _ in 0..<60 {
                    let damaged = generator.mutation(of: whole, in: 0..<whole.count)
                    try write(damaged, to: file)
                    // A manifest may say the same in other words, as with a member's name that nobody asks for.
                    guard damaged != whole, name != "manifest.json" else {
                        _ = try folder.newestReadable()
                        continue
                    }
                    #expect(try folder.newestReadable().checkpoint == nil)
                }
                try write(whole, to: file)
            }
        }
    }

    @Test func `files that are whole but no safetensors or JSON are skipped`() throws {
        try withTemporaryFolder { base in
            let folder = CheckpointFolder("\(base)/checkpoints")
            try folder.write(step: 1, [.init("model.safetensors", .bytes([1, 2, 3]))])
            try folder.write(step: 2, [.init("state.json", .bytes(Array("{".utf8)))])
            let (checkpoint, skipped) = try folder.newestReadable()
            #expect(checkpoint == nil)
            #expect(skipped.count == 2)
            guard case .notJSON? = skipped.first, case .safetensors? = skipped.last else {
                Issue.record("\(skipped)")
                return
            }
        }
    }

    @Test func `a manifest cannot lead out of its folder`() throws {
        try withTemporaryFolder { base in
            let folder = CheckpointFolder("\(base)/checkpoints")
            let path = try folder.write(step: 2, files(2))
            try write([7], to: "\(base)/checkpoints/state.json")
            let manifest = "\(path)/manifest.json"
            let text = String(decoding: try contents(manifest), as: UTF8.self)
            for name in ["../state.json", "", "..", "manifest.json", "/etc/passwd", "a\\u0000b"] {
                try write(Array(text.replacing("state.json", with: name).utf8), to: manifest)
                guard case .malformedManifest(manifest, _)? = try folder.newestReadable().skipped.first else {
                    Issue.record("\(name)")
                    continue
                }
            }
        }
    }

    @Test func `training that goes back to an earlier step goes on from there`() throws {
        try withTemporaryFolder { base in
            let path = "\(base)/checkpoints"
            let folder = CheckpointFolder(path)
            for step in [1, 2, 3] { try folder.write(step: step, files(step)) }
            // The newest is damaged: training resumed from 2 and saves sooner than before.
            try write([], to: "\(path)/step-00000003/model.safetensors")
            try CheckpointFolder(path, keeping: 1).write(step: 2, files(22))
            let (checkpoint, skipped) = try folder.newestReadable()
            #expect(try seed(checkpoint) == 22)
            #expect(skipped == [])
        }
    }

    // MARK: - What the system refuses

    @Test func `names and steps are checked`() throws {
        try withTemporaryFolder { base in
            let folder = CheckpointFolder("\(base)/checkpoints")
            for name in ["", ".", "..", "a/b", "manifest.json", "a\u{0}"] {
                #expect(throws: CheckpointError.invalidName(name)) {
                    try folder.write(step: 1, [.init(name, .bytes([]))])
                }
            }
            let twice = CheckpointFolder.File("a", .bytes([]))
            #expect(throws: CheckpointError.invalidName("a")) { try folder.write(step: 1, [twice, twice]) }
            #expect(throws: CheckpointError.invalidName("a")) {
                try folder.write(step: 1, [.init("a", .tensors([]))])
            }
            #expect(throws: CheckpointError.negativeStep(-1)) { try folder.write(step: -1, files(1)) }
            #expect(throws: CheckpointError.noFiles(path: "\(base)/checkpoints/step-00000001.partial")) {
                try folder.write(step: 1, [])
            }
            #expect(names(in: "\(base)/checkpoints") == [])
        }
    }

    @Test func `what is no folder is named`() throws {
        try withTemporaryFolder { base in
            let path = "\(base)/checkpoints"
            try write([], to: path)
            let folder = CheckpointFolder(path)
            #expect(throws: CheckpointError.notFolder(path: path)) { try folder.write(step: 1, files(1)) }
            #expect(throws: CheckpointError.notFolder(path: path)) { try folder.newestReadable() }
            #expect(
                throws: CheckpointError.file(
                    FileError(path: "\(path)/below", problem: .system(operation: "examine", code: ENOTDIR)))
            ) { try CheckpointFolder("\(path)/below").write(step: 1, files(1)) }
            unlink(path)
            mkdir(path, 0o700)
            try write([], to: "\(path)/step-00000001")
            #expect(try folder.newestReadable().skipped == [.notFolder(path: "\(path)/step-00000001")])
        }
    }

    @Test func `where writing is not permitted, that is said`() throws {
        // Root may write everywhere, but nobody may make a folder in /proc.
        do throws(CheckpointError) {
            try CheckpointFolder("/proc/checkpoints").write(step: 1, files(1))
            Issue.record("A folder was made in /proc.")
        } catch {
            guard case .file(let error) = error, case .system(operation: "create", _) = error.problem else {
                Issue.record(error)
                return
            }
            #expect(error.path == "/proc/checkpoints")
        }
    }
}

#if os(Linux)
    /// Calls `body` with a folder on a disk of its own with so few bytes.
    private func withTinyDisk(byteCount: Int, _ body: (String) throws -> Void) throws {
        try withTemporaryFolder { folder in
            guard mount("tmpfs", folder, "tmpfs", 0, "size=\(byteCount)") == 0 else {
                throw FileError(path: folder, problem: .system(operation: "mount", code: errno))
            }
            defer { umount2(folder, Int32(MNT_DETACH)) }
            try body(folder)
        }
    }

    /// Whether this process may mount disks: root often may not either, in a container.
    private let mayMount: Bool = {
        (try? withTinyDisk(byteCount: 16 << 10) { _ in }) != nil
    }()

    @Suite(.enabled(if: mayMount, "a disk of its own cannot be mounted"))
    struct `A full disk` {
        @Test func `is named with the bytes that it has no room for, and the last checkpoint stands`() throws {
            try withTinyDisk(byteCount: 256 << 10) { disk in
                let folder = CheckpointFolder("\(disk)/checkpoints")
                try folder.write(step: 1, files(1))
                do throws(CheckpointError) {
                    try folder.write(step: 2, files(2, elementCount: 300_000))
                    Issue.record("300,000 bytes were written to a disk of 256 KiB.")
                } catch {
                    guard case .file(let error) = error, case .diskFull(let byteCount) = error.problem else {
                        Issue.record(error)
                        return
                    }
                    #expect(error.path.hasSuffix("/step-00000002.partial/model.safetensors"))
                    #expect((300_000..<300_300).contains(byteCount))
                    #expect(error.description.contains("\(byteCount)"))
                }
                #expect(names(in: "\(disk)/checkpoints") == ["step-00000001"])
                #expect(try seed(folder.newestReadable().checkpoint) == 1)
                // With room for one file, but not for the next.
                #expect(throws: CheckpointError.self) {
                    try folder.write(step: 2, files(2, elementCount: 120_000))
                }
                #expect(names(in: "\(disk)/checkpoints") == ["step-00000001"])
                // Room again, and training goes on.
                try folder.write(step: 3, files(3))
                #expect(try seed(folder.newestReadable().checkpoint) == 3)
            }
        }

        @Test func `leaves whole lines of figures`() throws {
            try withTinyDisk(byteCount: 16 << 10) { disk in
                let path = "\(disk)/metrics.jsonl"
                let writer = try MetricsWriter(path)
                var written = 0
                do throws(MetricsError) {
                    for step in 0..<10_000 {
                        try writer.write(step: step, [("loss", 0.1)])
                        written += 1
                    }
                    Issue.record("10,000 lines were written to a disk of 16 KiB.")
                } catch {
                    guard case .file(let error) = error, case .diskFull = error.problem else {
                        Issue.record(error)
                        return
                    }
                }
                let lines = String(decoding: try contents(path), as: UTF8.self).split(separator: "\n")
                #expect(lines.count == written)
                #expect(lines.last == "{\"step\":\(written - 1),\"loss\":0.1}")
                let tokenizer = try CharacterTokenizer(texts: ["a"])
                #expect(throws: TokenizerFileError.self) {
                    try TokenizerFile.write(tokenizer, to: "\(disk)/tokenizer.json")
                }
                #expect(names(in: disk) == ["metrics.jsonl"])
            }
        }
    }
#endif
