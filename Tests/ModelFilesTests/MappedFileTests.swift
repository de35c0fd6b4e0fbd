import ModelFiles
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Calls `body` with the path of a new folder, which is gone afterwards with all that is in it.
func withTemporaryFolder(_ body: (String) throws -> Void) throws {
    var template = Array("\(TestEnvironment.variable("TMPDIR") ?? "/tmp")/ModelFilesTests.XXXXXX".utf8CString)
    let folder = try #require(mkdtemp(&template)).withMemoryRebound(to: CChar.self, capacity: 1) {
        String(cString: $0)
    }
    defer { removeFolder(folder) }
    try body(folder)
}

private func removeFolder(_ folder: String) {
    for name in names(in: folder) {
        let path = "\(folder)/\(name)"
        if unlink(path) != 0 { removeFolder(path) }
    }
    rmdir(folder)
}

/// Returns the names of what is in a folder, sorted.
func names(in folder: String) -> [String] {
    guard let stream = opendir(folder) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
}

/// Writes a file, without any care.
func write(_ bytes: [UInt8], to path: String) throws {
    let file = try #require(fopen(path, "w"))
    fwrite(bytes, 1, bytes.count, file)
    fclose(file)
}

/// Returns why a file cannot be mapped, having made sure that reading it fails in the same way.
private func problem(_ path: String) -> FileError.Problem? {
    do {
        _ = try MappedFile(path: path)
        return nil
    } catch {
        #expect(throws: error) { try MappedFile(reading: path) }
        #expect(error.description.contains(path))
        return error.problem
    }
}

@Suite struct `Mapped files` {
    @Test func `mapping and reading give the same bytes`() throws {
        try withTemporaryFolder { folder in
            let bytes = (0..<10_000).map { UInt8(truncatingIfNeeded: $0) }
            try write(bytes, to: "\(folder)/file")
            for file in try [MappedFile(path: "\(folder)/file"), MappedFile(reading: "\(folder)/file")] {
                #expect(file.withUnsafeBytes { Array($0) } == bytes)
                #expect(file.slice(5..<8).withUnsafeBytes { Array($0) } == [5, 6, 7])
            }
        }
    }

    @Test func `empty files have no bytes`() throws {
        try withTemporaryFolder { folder in
            try write([], to: "\(folder)/file")
            #expect(try MappedFile(path: "\(folder)/file").count == 0)
            #expect(try MappedFile(reading: "\(folder)/file").count == 0)
            #expect(MappedFile(bytes: []).count == 0)
        }
    }

    @Test func `what is no regular file is refused`() throws {
        try withTemporaryFolder { folder in
            #expect(problem(folder) == .notRegularFile(kind: "a folder"))
            #expect(mkfifo("\(folder)/pipe", 0o600) == 0)
            #expect(problem("\(folder)/pipe") == .notRegularFile(kind: "a pipe"))
            #expect(problem("/dev/null") == .notRegularFile(kind: "a device"))
            #expect(problem("\(folder)/absent") == .system(operation: "open", code: ENOENT))
        }
    }

    @Test func `a path with a zero byte is refused`() {
        #expect(problem("a\u{0}b") == .zeroByteInPath)
    }

    @Test func `a file that cannot be opened is the reader's error`() throws {
        try withTemporaryFolder { folder in
            #expect(throws: GGUFError.self) { try GGUFFile(path: "\(folder)/absent.gguf") }
            #expect(throws: SafetensorsError.self) {
                try SafetensorsFile(path: "\(folder)/absent.safetensors")
            }
        }
    }
}
