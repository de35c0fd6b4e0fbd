import ArgumentParser
import Attention
import Foundation
import ModelFiles
import PretrainedModels

/// Options that every subcommand has.
struct CommonOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "How many threads compute, from 1 to 512; results do not depend on it.", valueName: "n"))
    var threads: Int?

    @Option(help: "When to colour the output: auto is on a terminal, unless NO_COLOR is set.")
    var color: ColorChoice = .auto

    func validate() throws {
        if let threads, !(1...512 ~= threads) {
            throw ValidationError("--threads is \(threads); it must be from 1 to 512.")
        }
    }

    func apply() {
        if let threads { ComputeThreads.count = threads }
        if let refused = KernelInfo.refusedName {
            StandardError.write(
                "attend: ATTENTION_KERNELS=\(refused) is unknown or not to be had on this processor; using "
                    + "\(KernelInfo.name).\n")
        }
    }

    /// Whether standard output is to be coloured.
    var isColored: Bool {
        let environment = ProcessInfo.processInfo.environment
        switch color {
        case .always: return true
        case .never: return false
        case .auto:
            return isatty(STDOUT_FILENO) != 0 && (environment["NO_COLOR"] ?? "").isEmpty
                && environment["TERM"] != "dumb"
        }
    }
}

/// When to colour the output.
enum ColorChoice: String, CaseIterable, ExpressibleByArgument {
    case auto
    case always
    case never
}

/// Progress, notes and errors.
enum StandardError {
    static func write(_ text: String) {
        // Where standard error is closed, there is nobody to tell.
        try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
    }
}

/// The columns of the terminal that standard output, or another descriptor, leads to, or 80.
func terminalWidth(of descriptor: Int32 = STDOUT_FILENO) -> Int {
    var size = winsize()
    if ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 { return Int(size.ws_col) }
    return 80
}

/// A failure with what to try, and the status to exit with.
struct CommandFailure: Error {
    /// 64 where the call was wrong, 1 where something failed in the doing.
    let status: Int32
    let message: String

    static func usage(_ message: String) -> CommandFailure { CommandFailure(status: 64, message: message) }
    static func failure(_ message: String) -> CommandFailure { CommandFailure(status: 1, message: message) }
}

/// Runs a subcommand's work; a failure goes to standard error and ends the process with its status.
///
/// What loading a model and reading a text throw says all that there is to say, and is reported as it stands.
func reportingFailures(_ body: () throws -> Void) throws {
    do {
        try body()
    } catch let failure as CommandFailure {
        throw reported(failure)
    } catch let error as PretrainedModelError {
        throw reported(.failure(error.description))
    } catch let error as TokenizerError {
        throw reported(.failure(error.description))
    }
}

private func reported(_ failure: CommandFailure) -> ExitCode {
    StandardError.write("attend: \(failure.message)\n")
    return ExitCode(failure.status)
}

/// The path of an installed program: where `PATH` says, or in other folders; `nil` where it is in none.
func installedProgram(_ name: String, alsoIn folders: [String] = []) -> String? {
    let path = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
    return (path + folders).map { "\($0)/\(name)" }.first(where: FileManager.default.isExecutableFile)
}

/// Writes text to standard output at once.
///
/// A reader that has gone away is no error: the rest is not wanted.
func writeOutput(_ text: String) throws {
    try writeOutput(Array(text.utf8))
}

/// Writes bytes to standard output at once, with the same exception.
func writeOutput(_ bytes: [UInt8]) throws {
    var bytes = bytes[...]
    while !bytes.isEmpty {
        let count = bytes.withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
        if count >= 0 {
            bytes = bytes.dropFirst(count)
        } else if errno == EPIPE {
            return
        } else if errno != EINTR {
            throw CommandFailure.failure("cannot write the output: \(String(cString: strerror(errno))).")
        }
    }
}

/// Writes a result to standard output, where its place is `-`, or to a file, whole or not at all.
///
/// - Throws: `CommandFailure` when it cannot be written.
func writeResult(_ bytes: [UInt8], to path: String) throws {
    if path == "-" {
        try writeOutput(bytes)
        return
    }
    do {
        try Data(bytes).write(to: URL(fileURLWithPath: path), options: .atomic)
    } catch {
        throw CommandFailure.failure("cannot write '\(path)': \(error.localizedDescription)")
    }
}

/// Reads standard input to its end, or up to a limit, as text.
///
/// The line end that `echo` and editors put last is no part of the text.
///
/// - Throws: `CommandFailure` when it is longer, or no UTF-8.
func readStandardInput(limit: Int = 64 << 20) throws -> String {
    let bytes = try readStandardInputBytes(limit: limit)
    if let offset = bytes.withUnsafeBytes(\.offsetOfInvalidUTF8) {
        throw CommandFailure.failure(
            "standard input is not UTF-8 (at byte \(offset)). Convert it, for example with iconv.")
    }
    var text = String(decoding: bytes, as: UTF8.self)
    if text.last?.isNewline == true { text.removeLast() }
    return text
}

/// Reads standard input to its end, or up to a limit.
///
/// - Throws: `CommandFailure` when it is longer, or cannot be read.
func readStandardInputBytes(limit: Int = 1 << 30) throws -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let count = buffer.withUnsafeMutableBytes { read(STDIN_FILENO, $0.baseAddress, $0.count) }
        if count < 0 {
            if errno == EINTR { continue }
            throw CommandFailure.failure("cannot read standard input: \(String(cString: strerror(errno))).")
        }
        if count == 0 { return bytes }
        bytes += buffer[..<count]
        if bytes.count > limit {
            throw CommandFailure.failure("standard input has more than \(limit) bytes; give a shorter text.")
        }
    }
}

/// Writes a value to standard output as JSON: keys in alphabetical order, on one line unless it is to be read by people.
func writeJSON(_ value: some Encodable, isPretty: Bool = false) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    if isPretty { encoder.outputFormatting.insert(.prettyPrinted) }
    try writeOutput(String(decoding: try encoder.encode(value), as: UTF8.self) + "\n")
}
