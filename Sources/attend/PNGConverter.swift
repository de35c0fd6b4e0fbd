import Foundation

/// Turns SVG into PNG by `rsvg-convert`, where that is installed.
enum PNGConverter {
    /// - Throws: `CommandFailure` when the program is not there, or fails.
    static func png(of svg: String) throws -> [UInt8] {
        guard let program = installedProgram("rsvg-convert") else {
            throw CommandFailure.failure(
                "PNG needs the program rsvg-convert, which is not in PATH. Install it (Debian and Ubuntu: "
                    + "apt-get install librsvg2-bin; macOS: brew install librsvg), or take --format svg.")
        }
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("attend-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        do {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let (source, result) = (
                folder.appendingPathComponent("view.svg"), folder.appendingPathComponent("view.png")
            )
            try Data(svg.utf8).write(to: source)
            let process = Process()
            process.executableURL = URL(fileURLWithPath: program)
            // Twice as many pixels: print and fine screens show them.
            process.arguments = ["--zoom", "2", "--unlimited", "--output", result.path, source.path]
            try process.run()
            process.waitUntilExit()
            guard process.terminationStatus == 0 else {
                throw CommandFailure.failure(
                    "\(program) ended with status \(process.terminationStatus). Take --format svg instead.")
            }
            return Array(try Data(contentsOf: result))
        } catch let failure as CommandFailure {
            throw failure
        } catch {
            throw CommandFailure.failure("cannot make a PNG with \(program): \(error.localizedDescription)")
        }
    }
}
