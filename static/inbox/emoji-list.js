// @ts-check
/**
 * The emoji of the picker: one line each, the emoji and then its English name and other words it is found by. Chosen
 * for what people at a shop say; whoever misses one types it with the keyboard of their system.
 *
 * @type {readonly {id: string, lines: string}[]}
 */
export const EMOJI_GROUPS = Object.freeze([
  {
    id: "faces",
    lines: `
😀 grinning happy
😃 smiley happy
😄 smile happy joy
😁 beaming grin
😆 laughing squint
😅 sweat smile phew relief
🤣 rolling laughing rofl
😂 joy tears laugh
🙂 slight smile
🙃 upside down
😉 wink
😊 blush smile warm
😇 innocent angel halo
🥰 love hearts smile
😍 heart eyes love
🤩 star struck wow
😘 kiss
😋 yum delicious
😛 tongue
😜 wink tongue crazy
🤗 hug
🤭 giggle hand over mouth oops
🤫 hush quiet secret
🤔 thinking hmm
🤨 raised eyebrow doubt
😐 neutral
😑 expressionless
😏 smirk
🙄 eye roll
😬 grimace awkward
😌 relieved calm
😔 pensive sad
😴 sleeping tired
🤒 ill thermometer sick
🤕 hurt bandage
🤧 sneeze cold
🥵 hot
🥶 cold freezing
🤯 mind blown
🥳 party celebrate
😎 cool sunglasses
🤓 nerd
🧐 monocle curious
😕 confused
😟 worried
🙁 frown sad
😮 surprised open mouth
😯 hushed
😲 astonished
😳 flushed embarrassed
🥺 pleading please
😢 cry sad tear
😭 sob cry
😱 scream fear
😖 confounded
😞 disappointed
😓 downcast sweat
😩 weary
😤 triumph steam
😡 angry mad
🤬 swearing
😈 devil smile
💩 poop
🤖 robot
👻 ghost
`,
  },
  {
    id: "hands",
    lines: `
👍 thumbs up yes good like +1
👎 thumbs down no bad dislike -1
👌 ok perfect
👋 wave hello hi bye
🙏 please thank you folded hands
👏 clap applause bravo
🙌 raised hands hooray
🤝 handshake deal agreed
💪 muscle strong
✌️ victory peace
🤞 fingers crossed luck
🤟 love you
🤙 call me
👉 point right
👈 point left
👆 point up
👇 point down
☝️ index up one
✋ raised hand stop
👊 fist bump
✊ raised fist
🫶 heart hands love
👀 eyes look
🧠 brain
💁 information desk help
🙋 raising hand question
🤷 shrug dunno
🤦 facepalm
🙇 bow sorry
🧑‍💻 technologist computer
🧑‍🍳 cook chef
🧑‍🎨 artist
👶 baby
👪 family
`,
  },
  {
    id: "hearts",
    lines: `
❤️ red heart love
🧡 orange heart
💛 yellow heart
💚 green heart
💙 blue heart
💜 purple heart
🤎 brown heart
🖤 black heart
🤍 white heart
💔 broken heart
💕 two hearts
💖 sparkling heart
💯 hundred percent
✨ sparkles new shine
🔥 fire hot
⭐ star
🌟 glowing star
💥 boom
💫 dizzy
🎉 tada party congratulations
🎊 confetti
🎈 balloon
🎂 birthday cake
🎁 gift present wrap
🏆 trophy winner
🥇 gold medal first
`,
  },
  {
    id: "shop",
    lines: `
🛍️ shopping bags
🛒 shopping cart trolley
📦 package parcel box
🚚 delivery truck shipping
🚀 rocket fast
✈️ airplane air mail
🚢 ship sea
📬 mailbox
📮 postbox
✉️ envelope letter mail
📧 e-mail
💳 credit card payment
💶 euro money
💷 pound money
💵 dollar money
💰 money bag
🧾 receipt invoice
🏷️ label tag price
🔖 bookmark
💸 money wings refund
📈 chart up
📉 chart down
🏪 shop store
🏠 house home
🏢 office building
🔁 repeat return exchange
↩️ return arrow back
📅 calendar date
⏰ alarm clock
⏳ hourglass waiting
🕐 clock time
📞 telephone call
📱 phone mobile
💻 laptop computer
🖨️ printer
📷 camera photo
🖼️ picture frame
📎 paperclip attachment
📝 memo note
✏️ pencil
📌 pin
🔍 search magnifier
🔗 link
🔒 lock secure
🔑 key
🔧 wrench repair
🛠️ tools repair
⚙️ gear settings
💡 light bulb idea
🔔 bell
📣 megaphone news
`,
  },
  {
    id: "things",
    lines: `
👗 dress
👕 shirt
👖 jeans trousers
🧥 coat jacket
🧣 scarf
🧤 gloves
🧦 socks
👟 sneaker shoe
👠 heel shoe
👢 boot
🎒 backpack
👜 handbag
👓 glasses
⌚ watch
💍 ring jewellery
💄 lipstick
🧴 lotion bottle
🧼 soap
🕯️ candle
🛋️ sofa couch
🪑 chair
🛏️ bed
🧸 teddy bear toy
🎨 palette art colour
🧵 thread sewing
🧶 yarn wool
📚 books
🎧 headphones
🎮 game
⚽ football
🚲 bicycle
🚗 car
🏺 vase pottery ceramic
🍽️ plate cutlery
☕ coffee cup
🍵 tea cup
🍷 wine
🍺 beer
🥂 cheers
🍞 bread
🥐 croissant
🧀 cheese
🍕 pizza
🍰 cake slice
🍪 cookie
🍫 chocolate
🍎 apple
🍓 strawberry
🍋 lemon
🥑 avocado
🌶️ chilli hot
`,
  },
  {
    id: "nature",
    lines: `
☀️ sun sunny
🌤️ sun cloud
☁️ cloud
🌧️ rain
⛄ snowman winter
❄️ snowflake cold
🌈 rainbow
🌊 wave sea
🌙 moon night
🌍 world earth europe
🌸 blossom spring
🌹 rose
🌻 sunflower
💐 bouquet flowers
🌱 seedling green
🌿 herb leaf
🍀 clover luck
🍁 maple leaf autumn
🌲 tree
🌵 cactus
🐶 dog
🐱 cat
🐰 rabbit
🐻 bear
🐼 panda
🐝 bee
🦋 butterfly
🐦 bird
🐟 fish
🦊 fox
🦄 unicorn
`,
  },
  {
    id: "signs",
    lines: `
✅ check mark done yes
✔️ tick done
❌ cross no wrong
❗ exclamation important
❓ question
⚠️ warning
🚫 forbidden no
⛔ no entry
♻️ recycle
🆗 ok button
🆕 new
🆓 free
🔝 top
🔜 soon
➡️ arrow right
⬅️ arrow left
⬆️ arrow up
⬇️ arrow down
➕ plus
➖ minus
🟢 green circle online
🟡 yellow circle
🔴 red circle
⚪ white circle
⚫ black circle
1️⃣ one
2️⃣ two
3️⃣ three
🇪🇺 europe flag
🇬🇧 united kingdom flag
🇸🇪 sweden flag
🇩🇪 germany flag
🇪🇸 spain flag
🇫🇷 france flag
🇮🇹 italy flag
🇩🇰 denmark flag
🇳🇴 norway flag
🇫🇮 finland flag
🇳🇱 netherlands flag
🇵🇱 poland flag
🇺🇸 united states flag
🇨🇳 china flag
🇯🇵 japan flag
`,
  },
]);
