import ArgumentParser
import AttentionServer
import Dispatch
import Foundation
import PretrainedModels
import Synchronization

/// `attend view [SENTENCE]`: the local page.
struct ViewCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "view",
        abstract: "Opens a local page to look at what a model attends to.",
        discussion: """
            Only this machine reaches the page, unless --host says otherwise; nothing leaves the machine. The address
            is printed, and opened in the browser where there is one. Ctrl-C ends it.

              attend view "The FBI is chasing a criminal on the run"
              attend view --port 8080 --no-open
            """)

    @Argument(help: ArgumentHelp("The text to begin with.", valueName: "sentence"))
    var sentence: String?

    @Option(help: "The word to begin with, or #N for the word at position N. The last word if none is named.")
    var target: String?

    @Option(help: ArgumentHelp("A GGUF file, a folder with one, or a name in the cache.", valueName: "model"))
    var model: String?

    @Option(
        help: "The port. If none is named, \(PageServer.Configuration.defaultPort), or another where that is taken.")
    var port: Int?

    @Option(help: "The address to listen on. Another than the default lets other machines in.")
    var host: String = "127.0.0.1"

    @Flag(inversion: .prefixedNo, help: "Open the page in the browser.")
    var open = true

    @OptionGroup var common: CommonOptions

    func validate() throws {
        if let port, !(0...65535 ~= port) { throw ValidationError("--port is \(port); it must be from 0 to 65535.") }
        if host.isEmpty { throw ValidationError("--host is empty; leave it out, or name an address.") }
    }

    func run() throws {
        try reportingFailures {
            common.apply()
            let resources: PageResources
            do {
                resources = try PageResources()
            } catch {
                throw CommandFailure.failure("\(error)")
            }
            let configuration = PageServer.Configuration(host: host, port: port, model: model)
            let server = PageServer(configuration: configuration, resources: resources)
            let arguments = pageArguments
            let opens = open
            let outcome = Mutex<Result<Void, any Error>>(.success(()))
            let isDone = DispatchSemaphore(value: 0)
            Interruption.watch()
            Task {
                do {
                    try await server.run(
                        until: {
                            while !Interruption.isRequested { try await Task.sleep(for: .milliseconds(100)) }
                        }
                    ) { port in
                        Self.announce(configuration, port: port, arguments: arguments, opens: opens)
                    }
                } catch {
                    outcome.withLock { $0 = .failure(error) }
                }
                isDone.signal()
            }
            isDone.wait()
            do {
                try outcome.withLock { try $0.get() }
            } catch {
                throw CommandFailure.failure("\(error)")
            }
            if Interruption.isRequested { throw ExitCode(128 + Interruption.signalNumber) }
        }
    }

    /// The page's state as its address has it.
    private var pageArguments: String {
        var components = URLComponents()
        components.queryItems = [("text", sentence), ("target", target), ("model", model)].compactMap { name, value in
            value.map { URLQueryItem(name: name, value: $0) }
        }
        // A plus sign would be read as a space.
        let query = (components.percentEncodedQuery ?? "").replacingOccurrences(of: "+", with: "%2B")
        return query.isEmpty ? "" : "#\(query)"
    }

    /// Prints the address and opens it.
    private static func announce(
        _ configuration: PageServer.Configuration, port: Int, arguments: String, opens: Bool
    ) {
        let host = configuration.host
        let name = host == "0.0.0.0" || host == "::" ? "127.0.0.1" : host.contains(":") ? "[\(host)]" : host
        let address = "http://\(name):\(port)/\(arguments)"
        // Where standard output is closed, the browser still opens.
        try? writeOutput("\(address)\n")
        if !configuration.isLoopback {
            StandardError.write(
                "attend: every machine that reaches this one can use the page and the models: --host is \(host).\n")
        }
        if opens { openBrowser(address) }
        StandardError.write("attend: Ctrl-C ends the page.\n")
    }

    /// Opens an address where there is something to open it with; the address is printed anyway.
    private static func openBrowser(_ address: String) {
        #if os(Linux)
            let name = "xdg-open"
            let environment = ProcessInfo.processInfo.environment
            guard
                environment["DISPLAY"] != nil || environment["WAYLAND_DISPLAY"] != nil || environment["BROWSER"] != nil
            else { return }
        #else
            let name = "open"
        #endif
        guard let path = installedProgram(name) else { return }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = [address]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try? process.run()
    }
}
