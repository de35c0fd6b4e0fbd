import Foundation
import ModelFiles
import TestSupport
import Testing

/// The built command, run as a user runs it.
struct Command {
    /// What a run left behind.
    struct Result {
        let status: Int32
        let output: String
        let error: String

        func json(sourceLocation: SourceLocation = #_sourceLocation) throws -> JSONValue {
            #expect(throws: Never.self, sourceLocation: sourceLocation) { try JSONValue(parsing: Array(output.utf8)) }
            return try JSONValue(parsing: Array(output.utf8))
        }
    }

    /// A folder of the test's own, for its files.
    let folder: String
    private let cleanUp: CleanUp

    init() throws {
        folder = "\(TestEnvironment.temporaryFolder)/attend-tests-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        cleanUp = CleanUp(folder: folder)
    }

    /// The executable, which is built into the folder of the test bundle.
    static let path: String = {
        let bundles = Bundle.allBundles.map(\.bundlePath) + [CommandLine.arguments[0]]
        var tried: [String] = []
        for bundle in bundles {
            var place = URL(fileURLWithPath: bundle).standardizedFileURL
            for _ in 0..<5 {
                place.deleteLastPathComponent()
                let candidate = place.appendingPathComponent("attend").path
                var isFolder: ObjCBool = false
                tried.append(candidate)
                if FileManager.default.fileExists(atPath: candidate, isDirectory: &isFolder), !isFolder.boolValue {
                    return candidate
                }
            }
        }
        preconditionFailure("The command is not built: it is none of \(tried).")
    }()

    /// Runs the command, and checks what holds for every run: it ends by itself, in time, and never by a trap.
    func run(
        _ arguments: [String], input: [UInt8] = [], environment: [String: String] = [:],
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Result {
        try execute(
            Self.path, arguments, input: input, environment: environment, sourceLocation: sourceLocation)
    }

    func run(
        _ arguments: String..., input: [UInt8] = [], environment: [String: String] = [:],
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Result {
        try run(arguments, input: input, environment: environment, sourceLocation: sourceLocation)
    }

    /// Runs a line of shell in which `$ATTEND` is the command and `$FOLDER` the test's folder.
    func shell(_ line: String, sourceLocation: SourceLocation = #_sourceLocation) throws -> Result {
        try execute("/bin/sh", ["-c", line], input: [], environment: [:], sourceLocation: sourceLocation)
    }

    /// Runs the command where it has to fail, and checks that it says why on standard error alone.
    @discardableResult
    func fail(
        _ arguments: [String], status: Int32, saying parts: [String], input: [UInt8] = [],
        environment: [String: String] = [:], sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Result {
        let result = try run(arguments, input: input, environment: environment, sourceLocation: sourceLocation)
        #expect(result.status == status, "\(arguments): \(result.error)", sourceLocation: sourceLocation)
        #expect(result.output.isEmpty, "\(arguments): \(result.output)", sourceLocation: sourceLocation)
        for part in parts {
            #expect(
                result.error.contains(part), "\(arguments): '\(part)' is not in: \(result.error)",
                sourceLocation: sourceLocation)
        }
        return result
    }

    /// Runs the command, and sends it a signal when a condition holds.
    ///
    /// - Returns: What it left behind, and whether the signal ended it: it may have ended before, or in good order.
    func run(
        _ arguments: [String], input: [UInt8] = [], sending signal: Int32, when isTime: () throws -> Bool
    ) throws -> (result: Result, isKilled: Bool) {
        let process = Process()
        let files = try start(process, Self.path, arguments, input: input)
        while process.isRunning, try !isTime() { usleep(500) }
        if process.isRunning { kill(process.processIdentifier, signal) }
        process.waitUntilExit()
        return (try result(of: process, files), process.terminationReason == .uncaughtSignal)
    }

    #if os(Linux)
        /// Runs the command with standard error on a terminal of so many columns.
        func runOnTerminal(_ arguments: [String], columns: UInt16) throws -> (result: Result, terminal: String) {
            let primary = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK)
            defer { close(primary) }
            var (lock, number): (CInt, CInt) = (0, 0)
            // TIOCSPTLCK and TIOCGPTN, which the header makes of macros that Swift does not read.
            try #require(ioctl(primary, 0x4004_5431, &lock) == 0 && ioctl(primary, 0x8004_5430, &number) == 0)
            let secondary = open("/dev/pts/\(number)", O_RDWR | O_NOCTTY)
            var size = winsize(ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
            try #require(ioctl(secondary, UInt(TIOCSWINSZ), &size) == 0)
            let process = Process()
            let terminal = FileHandle(fileDescriptor: secondary, closeOnDealloc: true)
            let files = try start(process, Self.path, arguments, error: terminal)
            var bytes: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: 4096)
            // A terminal that nobody reads from fills up.
            while true {
                let isRunning = process.isRunning
                let count = read(primary, &buffer, buffer.count)
                if count > 0 { bytes += buffer[..<count] } else if isRunning { usleep(500) } else { break }
            }
            try terminal.close()
            process.waitUntilExit()
            return (try result(of: process, files), String(decoding: bytes, as: UTF8.self))
        }
    #endif

    private func execute(
        _ path: String, _ arguments: [String], input: [UInt8], environment: [String: String],
        sourceLocation: SourceLocation
    ) throws -> Result {
        let process = Process()
        let files = try start(process, path, arguments, input: input, environment: environment)
        let watchdog = DispatchWorkItem { process.terminate() }
        DispatchQueue.global().asyncAfter(deadline: .now() + 120, execute: watchdog)
        process.waitUntilExit()
        watchdog.cancel()
        let result = try result(of: process, files)
        #expect(
            process.terminationReason == .exit, "\(arguments) ended by signal \(result.status): \(result.error)",
            sourceLocation: sourceLocation)
        for sign in ["Fatal error", "Crash", "Stack dump", "Illegal instruction", "Backtrace"] {
            #expect(!result.error.contains(sign), "\(arguments): \(result.error)", sourceLocation: sourceLocation)
        }
        return result
    }

    /// The files that stand for a process's standard input, output and error.
    private struct Files {
        let output: String
        let error: String
        let handles: [FileHandle]
    }

    private func start(
        _ process: Process, _ path: String, _ arguments: [String], input: [UInt8] = [],
        environment: [String: String] = [:], error: FileHandle? = nil
    ) throws -> Files {
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        var variables = ProcessInfo.processInfo.environment
        variables["NO_COLOR"] = nil
        variables["ATTEND"] = Self.path
        variables["FOLDER"] = folder
        process.environment = variables.merging(environment) { $1 }
        // Files, not pipes: a pipe that nobody empties would stop the command.
        let name = UUID().uuidString
        let files = try ["input", "output", "error"].map { kind in
            let file = "\(folder)/\(kind)-\(name)"
            try Data(kind == "input" ? input : []).write(to: URL(fileURLWithPath: file))
            return file
        }
        let handles = try files.map { file in
            try #require(file == files[0] ? FileHandle(forReadingAtPath: file) : FileHandle(forWritingAtPath: file))
        }
        process.standardInput = handles[0]
        process.standardOutput = handles[1]
        process.standardError = error ?? handles[2]
        // The threads of a pool hold signals back, and a process that they start would do so as well.
        var (none, before) = (sigset_t(), sigset_t())
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        try process.run()
        return Files(output: files[1], error: files[2], handles: handles)
    }

    private func result(of process: Process, _ files: Files) throws -> Result {
        for handle in files.handles { try handle.close() }
        func text(_ file: String) throws -> String {
            let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: file)))
            return try #require(String(validating: bytes, as: UTF8.self), "The output is not UTF-8.")
        }
        return Result(
            status: process.terminationStatus, output: try text(files.output), error: try text(files.error))
    }

    /// Writes a file into the folder.
    func write(_ name: String, _ bytes: [UInt8]) throws -> String {
        let path = "\(folder)/\(name)"
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        return path
    }

    func write(_ name: String, _ text: String) throws -> String {
        try write(name, Array(text.utf8))
    }

    private final class CleanUp: Sendable {
        let folder: String
        init(folder: String) { self.folder = folder }
        deinit { try? FileManager.default.removeItem(atPath: folder) }
    }
}
