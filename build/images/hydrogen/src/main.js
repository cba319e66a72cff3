// Hydrogen, the light Matrix client, as its own page: the whole of its interface around this installation's homeserver.
import { FeatureSet, Platform, RootView, RootViewModel, createNavigation, createRouter } from "hydrogen-view-sdk";

const assetPaths = {
    downloadSandbox: "assets/download-sandbox.html",
    worker: "assets/main.js",
    olm: { wasm: "assets/olm.wasm", legacyBundle: "assets/olm_legacy.js", wasmBundle: "assets/olm.js" },
    serviceWorker: "sw.js",
};

async function loadConfig() {
    const answer = await fetch("config.json", { cache: "no-store" });
    if (!answer.ok) {
        throw new Error(`config.json: ${answer.status}`);
    }
    const config = await answer.json();
    // Element Web's spelling of the same wish is understood too.
    const element = config.default_server_config?.["m.homeserver"]?.base_url;
    return { ...config, defaultHomeServer: config.defaultHomeServer ?? element };
}

async function main(container) {
    const platform = new Platform({ container, assetPaths, config: await loadConfig(), options: { development: false } });
    await platform.init();
    const navigation = createNavigation();
    platform.setNavigation(navigation);
    const urlRouter = createRouter({ navigation, history: platform.history });
    urlRouter.attach();
    const features = await FeatureSet.load(platform.settingsStorage);
    const root = new RootViewModel({ platform, urlRouter, navigation, features });
    await root.load();
    container.appendChild(new RootView(root).mount());
}

const container = document.querySelector("#app");
main(container).catch((error) => {
    console.error(error);
    container.textContent = `The client could not start: ${error.message}`;
});
